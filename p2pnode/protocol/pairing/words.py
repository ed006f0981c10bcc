"""256 short words, each with one emoji that shows it: one byte a word.

Words are sorted, so a word's byte is its place. Any two differ within their first four letters and
no word begins another, so half-heard or half-typed ones are still told apart; pairs that sound
nearly alike were left out. Each emoji is one code point of Unicode 11 or older that is drawn in
colour by itself, without joiner or variation selector. The list is part of the protocol: never
change it, a later version may add another.
"""

_LIST = """
abacus 🧮  alien 👽  anchor ⚓  apple 🍎  avocado 🥑  backpack 🎒  badger 🦡  bagel 🥯
balloon 🎈  banana 🍌  baseball ⚾  bathtub 🛁  battery 🔋  beads 📿  bear 🐻  bell 🔔
bicycle 🚲  blossom 🌸  bolt ⚡  bone 🦴  book 📖  bottle 🍾  bouquet 💐  bowling 🎳  boxing 🥊
bread 🍞  bridge 🌉  broccoli 🥦  broom 🧹  bulb 💡  burger 🍔  butterfly 🦋  cactus 🌵
cake 🎂  calendar 📅  camel 🐪  candy 🍬  canoe 🛶  castle 🏰  cat 🐱  cheese 🧀  cherry 🍒
chestnut 🌰  chicken 🐔  chocolate 🍫  circus 🎪  clock ⏰  cloud ⛅  clover 🍀  clown 🤡
coconut 🥥  coffee ☕  compass 🧭  cookie 🍪  crab 🦀  cricket 🦗  crocodile 🐊  croissant 🥐
crystal 🔮  cucumber 🥒  cupcake 🧁  dancer 💃  deer 🦌  diamond 💎  dinosaur 🦕  dog 🐶
dolphin 🐬  donut 🍩  door 🚪  dragon 🐉  dress 👗  drop 💧  drum 🥁  duck 🦆  eagle 🦅
eggplant 🍆  elephant 🐘  elf 🧝  factory 🏭  fairy 🧚  fire 🔥  fish 🐟  flag 🚩  foot 🦶
fork 🍴  fox 🦊  fries 🍟  frog 🐸  fuel ⛽  genie 🧞  ghost 👻  gift 🎁  giraffe 🦒
glasses 👓  globe 🌍  gloves 🧤  goat 🐐  goggles 🥽  gorilla 🦍  grapes 🍇  guitar 🎸
hammer 🔨  headphones 🎧  heart 💗  hedgehog 🦔  helicopter 🚁  hippo 🦛  hockey 🏒  honey 🍯
horse 🐴  hotdog 🌭  hourglass ⌛  icecream 🍦  jeans 👖  kangaroo 🦘  key 🔑  kimono 👘
kiwi 🥝  koala 🐨  ladybug 🐞  lantern 🏮  laptop 💻  lemon 🍋  leopard 🐆  lettuce 🥬  lion 🦁
lipstick 💄  lizard 🦎  llama 🦙  lobster 🦞  luggage 🧳  magnet 🧲  mailbox 📫  mango 🥭
maple 🍁  mask 🎭  meat 🍖  medal 🏅  megaphone 📣  melon 🍉  mermaid 🧜  milk 🥛  monkey 🐵
moon 🌙  mosquito 🦟  mountain 🗻  mouse 🐭  mushroom 🍄  noodles 🍜  notebook 📓  octopus 🐙
orange 🍊  owl 🦉  package 📦  palette 🎨  palm 🌴  pancake 🥞  panda 🐼  parrot 🦜  peacock 🦚
peanut 🥜  penguin 🐧  phone 📱  piano 🎹  pineapple 🍍  pizza 🍕  plug 🔌  poodle 🐩
popcorn 🍿  potato 🥔  pretzel 🥨  pumpkin 🎃  purse 👛  puzzle 🧩  rabbit 🐰  raccoon 🦝
radio 📻  rainbow 🌈  ribbon 🎀  rice 🍚  ring 💍  robot 🤖  rocket 🚀  rose 🌹  ruler 📏
sailboat ⛵  salad 🥗  sandwich 🥪  satellite 📡  saucer 🛸  scarf 🧣  scooter 🛴  scorpion 🦂
screw 🔩  shark 🦈  sheep 🐑  shell 🐚  ship 🚢  shirt 👕  shower 🚿  shrimp 🦐  siren 🚨
snail 🐌  snake 🐍  sneaker 👟  snowman ⛄  soap 🧼  soccer ⚽  socks 🧦  spiral 🌀  sponge 🧽
spoon 🥄  sprout 🌱  squid 🦑  star ⭐  statue 🗽  sunflower 🌻  sushi 🍣  swan 🦢  taco 🌮
target 🎯  taxi 🚕  teddy 🧸  tennis 🎾  tent ⛺  thread 🧵  ticket 🎫  tiger 🐯  tomato 🍅
tongue 👅  toolbox 🧰  tooth 🦷  tower 🗼  tractor 🚜  train 🚂  tram 🚋  tree 🌳  trophy 🏆
truck 🚚  trumpet 🎺  tulip 🌷  turkey 🦃  turtle 🐢  umbrella ☔  unicorn 🦄  vampire 🧛
violin 🎻  volcano 🌋  watch ⌚  wave 🌊  whale 🐳  wheat 🌾  wolf 🐺  wrench 🔧  yarn 🧶
zebra 🦓
"""

_ITEMS = _LIST.split()
WORDS = tuple(_ITEMS[0::2])
EMOJI = tuple(_ITEMS[1::2])
_BYTES = {word: value for value, word in enumerate(WORDS)}
_STARTS = {word[:4]: value for value, word in enumerate(WORDS)}


def word(value: int) -> str:
    """Return the word for a byte."""
    return WORDS[value]


def emoji(value: int) -> str:
    """Return the emoji that shows the word for a byte."""
    return EMOJI[value]


def value_of(typed: str) -> int | None:
    """Return the byte of a typed word or of its first four letters; None when it is no word."""
    small = typed.casefold()
    found = _BYTES.get(small)
    return _STARTS.get(small) if found is None else found
