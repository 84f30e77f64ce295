// Every word of the page, in two languages.

const TEXTS = {
  en: {
    title: "Search", skip: "Skip to the results", words: "Words to search for", search: "Search",
    placeholder: "Words, a picture, or both", choose: "Choose a picture", photograph: "Take a photo",
    pictures: "Pictures of this search", picture: "Picture {n}", remove: "Remove {what}",
    headline: "Search by words, by picture, or both",
    lede: "Type, paste, drop or photograph what you are looking for.",
    way1: "In your words", way1Text: "Any language. What is meant counts, and so does what is written.",
    way2: "With a picture", way2Text: "Drop it anywhere on this page, paste it, choose it, or take it.",
    way3: "From what you find", way3Text: "Go on from a product: more like this, or not like this.",
    results: "Results", count: "{n} products", countOne: "1 product", countAtLeast: "{n} products or more",
    took: "{ms} ms", shown: "{n} shown", balance: "Words or pictures", wordsEnd: "Words", picturesEnd: "Pictures",
    balanceIs: "{words} % words, {pictures} % pictures", balanceMid: "Balanced",
    sort: "Sort", sortBest: "Best match", sortCheap: "Price, low to high", sortDear: "Price, high to low",
    fits: "Only what fits", fitsText: "Leaves out what is only distantly like what you look for", showAll: "Show all",
    unfilter: "Remove the filters", currency: "Currency", attributeChip: "{name}: {value}",
    matchedFrame: "The video matched at {time}", "scope.lexical": "Numbers: all products that match the words.",
    "scope.window": "Numbers: the products that are ranked here.", "scope.filter": "Numbers: all products of the shop.",
    "scope.fits": "Numbers: the products that fit.",
    filters: "Filters", filtersN: "Filters ({n})", chosen: "Chosen filters", clear: "Clear all", more: "More",
    loadingMore: "Loading…", brand: "Brand", category: "Category", price: "Price", other: "{n} more",
    from: "From {low}", below: "Below {high}", between: "{low} to {high}",
    like: "More like this", notLike: "Not like this", why: "Why is it here?", likeOf: "More like this: {title}",
    notLikeOf: "Not like this: {title}", whyOf: "Why is it here? {title}",
    likeChip: "Like: {title}", notLikeChip: "Not like: {title}",
    matchedPicture: "Picture {n} of {all} matched", noPicture: "No picture", unavailable: "Not available",
    dropHere: "Drop the picture here", searching: "Searching…",
    none: "Nothing fits", noneText: "Try other words, or take a filter away.",
    pictureGone: "This address was made with a picture, and the picture is not in it",
    pictureGoneText: "Pictures stay with the person who gave them. Add it again to see the same results.",
    pictureNotShared: "The picture is not in the address of this page; whoever you send it to sees the words and filters only.",
    offline: "You are offline. The page goes on as soon as the network is back.",
    "error.offline": "You are offline", "error.offlineText": "The page goes on as soon as the network is back.",
    "error.down": "The service cannot be reached", "error.downText": "It may be starting, or stopped.",
    "error.picture": "This picture cannot be used", "error.pictureText": "Use a JPEG, PNG, WebP or GIF picture.",
    "error.large": "This picture is too large", "error.largeText": "The service takes up to {limit}.",
    "error.many": "That are too many pictures", "error.manyText": "One search takes up to {limit}.",
    "error.key": "This page needs a key", "error.keyText": "Load the page again, and give the key as the password.",
    "error.often": "Too many searches at once", "error.oftenText": "The page tries again in {s} s.",
    "error.busy": "The service is busy", "error.busyText": "The page tries again in {s} s.",
    "error.unready": "The search is not ready", "error.unreadyText": "The page tries again in {s} s.",
    "error.slow": "The answer took too long", "error.slowText": "Try again in a moment.",
    "error.query": "This cannot be searched", "error.queryText": "Change the search and try again.",
    "error.other": "Something went wrong", "error.otherText": "Try again; if it stays, tell whoever runs this service.",
    again: "Try again", dropPicture: "Remove the picture", reload: "Load again", request: "Request {id}",
    explainTitle: "Why is it here?", close: "Close", score: "Score {score}", rank: "Place {rank}",
    share: "{share} % of the score", leg: "Part", raw: "raw {raw} · weight {weight}", legRank: "place {rank} there",
    matchedWords: "Words that match", meets: "Filters it meets", requests: "Requests to Elasticsearch",
    requestsText: "Paste them into the Console of Kibana.", copy: "Copy", copied: "Copied", copyFailed: "Select and copy it by hand",
    "leg.lexical": "Words as written", "leg.identifier": "Article number", "leg.text": "Meaning of the text",
    "leg.image": "Meaning of the pictures", "leg.visual": "Look of the pictures", "leg.ocr": "Words on the pictures",
    "leg.fused": "Text and pictures as one", "field.title": "title", "field.description": "description",
    "field.brand": "brand", "field.category": "category", "field.attributes": "attributes", "field.identifiers": "numbers",
    dark: "Dark", light: "Light", theme: "Colours: {now}", system: "as the system", language: "中文", languageLabel: "中文 (switch to Chinese)",
  },
  zh: {
    title: "搜索", skip: "跳到结果", words: "搜索文字", search: "搜索",
    placeholder: "文字、图片，或两者一起", choose: "选择图片", photograph: "拍照",
    pictures: "本次搜索的图片", picture: "图片 {n}", remove: "移除 {what}",
    headline: "用文字、图片，或两者一起搜索",
    lede: "输入、粘贴、拖入或拍下您要找的东西。",
    way1: "用您的话", way1Text: "任何语言都行。字面和意思都算数。",
    way2: "用一张图", way2Text: "拖到页面任意处、粘贴、选择，或直接拍照。",
    way3: "从结果出发", way3Text: "从一件商品继续：更多相似，或不要这样的。",
    results: "结果", count: "{n} 件商品", countOne: "1 件商品", countAtLeast: "{n} 件以上商品",
    took: "{ms} 毫秒", shown: "已显示 {n} 件", balance: "文字还是图片", wordsEnd: "文字", picturesEnd: "图片",
    balanceIs: "文字 {words}%，图片 {pictures}%", balanceMid: "均衡",
    sort: "排序", sortBest: "最匹配", sortCheap: "价格从低到高", sortDear: "价格从高到低",
    fits: "只看符合的", fitsText: "去掉只是略微相似的商品", showAll: "显示全部",
    unfilter: "移除筛选条件", currency: "货币", attributeChip: "{name}：{value}",
    matchedFrame: "视频在 {time} 处匹配", "scope.lexical": "数字：所有与文字匹配的商品。",
    "scope.window": "数字：此处参与排名的商品。", "scope.filter": "数字：店内所有商品。",
    "scope.fits": "数字：符合的商品。",
    filters: "筛选", filtersN: "筛选（{n}）", chosen: "已选条件", clear: "全部清除", more: "更多",
    loadingMore: "加载中…", brand: "品牌", category: "类别", price: "价格", other: "另有 {n} 项",
    from: "{low} 起", below: "{high} 以下", between: "{low} 至 {high}",
    like: "更多相似", notLike: "不要这样的", why: "为什么在这里？", likeOf: "更多相似：{title}",
    notLikeOf: "不要这样的：{title}", whyOf: "为什么在这里？{title}",
    likeChip: "相似于：{title}", notLikeChip: "不像：{title}",
    matchedPicture: "匹配第 {n} 张图，共 {all} 张", noPicture: "无图片", unavailable: "缺货",
    dropHere: "把图片放在这里", searching: "正在搜索…",
    none: "没有符合的商品", noneText: "换些文字，或去掉一个筛选条件。",
    pictureGone: "这个地址来自一次图片搜索，但图片不在地址里",
    pictureGoneText: "图片只留在提供者那里。请重新添加图片以看到相同的结果。",
    pictureNotShared: "图片不在本页地址里；别人打开这个地址时，只能看到文字和筛选条件。",
    offline: "您已离线。网络恢复后页面会自动继续。",
    "error.offline": "您已离线", "error.offlineText": "网络恢复后页面会自动继续。",
    "error.down": "无法连接服务", "error.downText": "它可能正在启动，或已停止。",
    "error.picture": "这张图片无法使用", "error.pictureText": "请使用 JPEG、PNG、WebP 或 GIF 图片。",
    "error.large": "这张图片太大", "error.largeText": "服务最多接受 {limit}。",
    "error.many": "图片太多", "error.manyText": "一次搜索最多 {limit} 张。",
    "error.key": "本页需要密钥", "error.keyText": "请重新加载页面，并把密钥作为密码输入。",
    "error.often": "搜索太频繁", "error.oftenText": "{s} 秒后自动重试。",
    "error.busy": "服务繁忙", "error.busyText": "{s} 秒后自动重试。",
    "error.unready": "搜索尚未就绪", "error.unreadyText": "{s} 秒后自动重试。",
    "error.slow": "响应时间过长", "error.slowText": "请稍后再试。",
    "error.query": "无法这样搜索", "error.queryText": "请修改后再试。",
    "error.other": "出了点问题", "error.otherText": "请重试；若仍如此，请告诉服务的管理者。",
    again: "重试", dropPicture: "移除图片", reload: "重新加载", request: "请求 {id}",
    explainTitle: "为什么在这里？", close: "关闭", score: "得分 {score}", rank: "第 {rank} 位",
    share: "占得分的 {share}%", leg: "部分", raw: "原始分 {raw} · 权重 {weight}", legRank: "该部分第 {rank} 位",
    matchedWords: "匹配的词", meets: "符合的筛选", requests: "发给 Elasticsearch 的请求",
    requestsText: "可粘贴到 Kibana 的 Console。", copy: "复制", copied: "已复制", copyFailed: "请手动选择并复制",
    "leg.lexical": "字面匹配", "leg.identifier": "商品编号", "leg.text": "文字的意思",
    "leg.image": "图片的意思", "leg.visual": "图片的样子", "leg.ocr": "图片上的文字",
    "leg.fused": "图文合一", "field.title": "标题", "field.description": "描述",
    "field.brand": "品牌", "field.category": "类别", "field.attributes": "属性", "field.identifiers": "编号",
    dark: "深色", light: "浅色", theme: "颜色：{now}", system: "跟随系统", language: "English", languageLabel: "English（切换到英文）",
  },
};

const KEY = "es-xmodal-language";
let language = kept(KEY) || (navigator.languages || [navigator.language || "en"]).map(known).find(Boolean) || "en";

function known(tag) {
  const short = String(tag).toLowerCase().split("-")[0];
  return short in TEXTS ? short : "";
}

/** What a person chose earlier; storage may be forbidden. */
export function kept(key) {
  try { return localStorage.getItem(key) || ""; } catch { return ""; }
}

export function keep(key, value) {
  try { localStorage.setItem(key, value); } catch { /* then it holds for this page only */ }
}

export function currentLanguage() { return language in TEXTS ? language : "en"; }

export function switchLanguage() {
  language = currentLanguage() === "en" ? "zh" : "en";
  keep(KEY, language);
}

/** The words for a key, with {names} filled in. */
export function t(key, values = {}) {
  const text = TEXTS[currentLanguage()][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export function has(key) { return key in TEXTS.en; }

/** Fill in what the page itself says. */
export function translate(root) {
  document.documentElement.lang = currentLanguage() === "zh" ? "zh-Hans" : "en";
  for (const [data, set] of [
    ["t", (one, text) => { one.textContent = text; }],
    ["tLabel", (one, text) => one.setAttribute("aria-label", text)],
    ["tTitle", (one, text) => one.setAttribute("title", text)],
    ["tPlaceholder", (one, text) => one.setAttribute("placeholder", text)],
  ]) {
    const name = data.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    for (const one of root.querySelectorAll(`[data-${name}]`)) set(one, t(one.dataset[data]));
  }
}

export function number(value) {
  return new Intl.NumberFormat(currentLanguage()).format(value);
}

export function money(value, currency) {
  try {
    return new Intl.NumberFormat(currentLanguage(), {
      style: "currency", currency, minimumFractionDigits: Number.isInteger(value) ? 0 : 2,
    }).format(value);
  } catch { // no currency, or none that a browser knows
    return `${number(value)}${currency ? ` ${currency}` : ""}`;
  }
}
