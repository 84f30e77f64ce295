#!/bin/sh
# Writes .env beside docker-compose.yml: the settings of .env.example, with a fresh secret for each that is empty.
# What is there already is left alone.
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
  echo "make-env.sh: .env is there already; delete it to make another (and the volumes, which know its passwords)" >&2
  exit 1
fi
umask 077
secret() { LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | dd bs=1 count=32 2>/dev/null; }
while IFS= read -r line; do
  case $line in
    [A-Z]*=) printf '%s%s\n' "$line" "$(secret)" ;;
    *) printf '%s\n' "$line" ;;
  esac
done <.env.example >.env.new
mv .env.new .env
echo "wrote .env, readable by you only; the key for the page is SEARCH_KEY"
