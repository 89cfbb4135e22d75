"""Everything that may break, broken on purpose in a server that otherwise is whole.

After each fault the tests ask the same four questions. Did those it hit get an error they can act on? Did everybody
else get an answer? Did `/health` and `/ready` tell the truth? Did the server recover, or say why not?

    a scorer raises, or answers nonsense ........ test_scoring.py
    the scoring thread dies ..................... test_scoring.py
    a batch hangs, and comes back or does not ... test_scoring.py
    a device is lost, as after a CUDA error ..... test_scoring.py
    a load fails half-way ....................... test_loading.py
    what owns the models dies ................... test_loading.py
    the disk is full ............................ test_disk.py
    a converted network is corrupt .............. test_disk.py
    the event loop stands still ................. test_event_loop.py
    a caller leaves, or runs out of time ........ test_callers.py
    the process is killed ....................... test_killed.py

``docs/guides/faults.md`` tells operators the same, and names the tests.
"""
