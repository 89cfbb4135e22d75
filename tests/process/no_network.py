"""Run a script with the network cut off: whatever reaches out is told on standard error, and fails.

    python no_network.py script.py arguments...

Python's audit events see every use of the socket module, whoever makes it and however it was imported. Listening on
this machine is allowed, as is what never leaves the process.
"""

from __future__ import annotations

import os
import runpy
import sys

TOLD = "REACHED OUT:"
_OUTWARD = {
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "socket.sendto",
    "socket.sendmsg",
}
_HERE = ("127.0.0.1", "::1")


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.bind":
        address = arguments[1]
        outward = not isinstance(address, tuple) or address[0] not in _HERE
    elif event == "socket.getaddrinfo":
        # what a server asks for its own address
        outward = arguments[0] not in _HERE
    else:
        outward = event in _OUTWARD
    if outward:
        os.write(2, f"{TOLD} {event} {arguments[1:] if event == 'socket.connect' else arguments}\n".encode())
        raise PermissionError(f"{event} while the network is cut off")


if __name__ == "__main__":
    sys.addaudithook(_guard)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
