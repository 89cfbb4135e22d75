// Examples to click.

export const EXAMPLES = [
  {
    name: "Pandas",
    query: "What do giant pandas eat?",
    documents: [
      "Pandas is a Python library for tables and time series.",
      "The giant panda lives in the mountains of central China.",
      "Bamboo makes up almost the whole diet of the giant panda; it eats 12 to 38 kilograms of it each day.",
      "Polar bears hunt seals at the edge of the ice.",
      "Red pandas are not bears, though they eat bamboo, too.",
    ],
  },
  {
    name: "HTTP 429",
    query: "How long should a client wait after a 429?",
    documents: [
      "A 404 means that the resource was not found.",
      "The status 429 says that a client has sent too many requests in a given time.",
      "The header Retry-After tells the client after how many seconds it may send the request again.",
      "A load balancer spreads requests over several servers.",
      "Without a Retry-After header, clients double their delay with each attempt and add some jitter.",
    ],
  },
  {
    name: "退货",
    query: "商品收到后几天内可以退货？",
    documents: [
      "我们支持全国大部分地区的次日送达。",
      "自签收之日起七天内，商品完好可申请无理由退货。",
      "会员每月可领取三张优惠券。",
      "退款将在仓库收到退货后三个工作日内原路退回。",
      "定制商品不支持退换。",
    ],
  },
  {
    name: "发烧",
    query: "孩子发烧时什么情况下要去医院？",
    documents: [
      "感冒通常一周左右自行好转。",
      "三个月以下婴儿体温超过38度，或发热超过三天，应立即就医。",
      "多喝水有助于退热时补充水分。",
      "疫苗接种后可能出现低热，一般一到两天消退。",
      "学校要求学生每天测量体温。",
    ],
  },
];
