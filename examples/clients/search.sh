#!/bin/sh
# Searches by words, by photo, or by both: search.sh WORDS [PHOTO], with "" for no words.
# Needs curl 7.76 or later and jq. SHOP_SEARCH_URL and SHOP_SEARCH_KEY say where the service is and who calls.
# Leaves with 0; 1 where the service says what is wrong with the search; 3 where it cannot answer now.
set -eu
url=${SHOP_SEARCH_URL:-http://127.0.0.1:8000}
words=${1-} photo=${2-}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

if [ -n "$photo" ] && [ ! -r "$photo" ]; then
  echo "search.sh: $photo cannot be read" >&2
  exit 1
fi
if [ -n "$photo" ]; then
  # A file name may hold what --form would read as its own; --form-string takes words as they are.
  set -- --form "image=@\"$photo\"" --form-string "text=$words" --form-string 'query={"size": 5}' "$url/search"
else
  set -- --get --data-urlencode "q=$words" --data size=5 "$url/search"
fi

# The key goes through a pipe: what stands on a command line can be read by everybody on the machine.
# --retry waits as long as Retry-After says after 429 and 503.
status=$(printf 'X-API-Key: %s\n' "${SHOP_SEARCH_KEY:-none}" | curl --silent --header @- --output "$answer" \
  --write-out '%{http_code}' --connect-timeout 2 --max-time 30 --retry 2 --retry-max-time 25 "$@") || {
  echo "search.sh: no answer from $url" >&2
  exit 3
}

if [ "$status" = 200 ]; then
  jq -r '.hits[] | "\(.rank). \(.id)  \(.source.title)"' "$answer"
  exit 0
fi
jq -r '"search.sh: \(.status) \(.detail) (request \(.request_id))"' "$answer" >&2 2>/dev/null ||
  echo "search.sh: $status, and no problem document" >&2
case $status in 429 | 5??) exit 3 ;; *) exit 1 ;; esac
