#!/bin/sh
# Tests a rule and a webhook receiver with simulated phones: no phone, no account, no network.
# It wants wildcat, webhook-receiver (or your own receiver) and curl in the PATH.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pids=
finish() { # shellcheck disable=SC2086
  kill $pids 2>/dev/null || :
  wait
  rm -rf "$work"
}
trap finish EXIT
fail() { echo "FAILED: $*" >&2; tail -n 20 "$work"/*.err >&2; exit 1; }
post() { curl -sSf -X POST "$1" -H 'Content-Type: application/json' -d "$2"; }

# start NAME PROGRAM ARGS… runs a program and waits for the address that it prints: $url.
start() {
  name=$1; shift
  : >"$work/$name.out"
  "$@" >>"$work/$name.out" 2>"$work/$name.err" &
  pids="$pids $!"
  for _ in $(seq 300); do
    url=$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$work/$name.out")
    if [ -n "$url" ]; then return; fi
    sleep 0.1
  done
  fail "$name did not start"
}

# 1. WhatsApp with its phones, the hub, and the receiver.
start sandbox wildcat sandbox --listen 127.0.0.1:0 --seed "$here/seed.yaml"
export SANDBOX="$url"
start hub wildcat serve --config "$here/wildcat.yaml" --data "$work/data"
hub=$url
secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
start receiver webhook-receiver --listen 127.0.0.1:0 --secret "$secret" --out "$work/events.jsonl"
post "$hub/webhooks" "{\"url\": \"$url/\", \"secret\": \"$secret\"}"

# 2. The shop's phone scans the hub's QR code.
post "$hub/accounts" '{"id": "shop"}'
qr=
for _ in $(seq 300); do
  qr=$(curl -sSf "$hub/accounts/shop/status" | sed -n 's/.*"qr":"\([^"]*\)".*/\1/p')
  if [ -n "$qr" ]; then break; fi
  sleep 0.1
done
post "$SANDBOX/sandbox/phones/15550001/scan" "{\"qr\": \"$qr\"}"

# 3. Ann writes to the shop. The rule answers: the request waits for it, at most 30 seconds.
post "$SANDBOX/sandbox/phones/15550002/send" '{"to": "15550001", "text": "!ping hello"}'
curl -sSf "$SANDBOX/sandbox/phones/15550002/received?after=0&wait=30s" | grep '"text":"pong hello"' ||
  fail "the rule did not answer"

# 4. The receiver got, and verified, both messages.
for text in '!ping hello' 'pong hello'; do
  for _ in $(seq 300); do
    if grep -sq "\"text\":\"$text\"" "$work/events.jsonl"; then continue 2; fi
    sleep 0.1
  done
  fail "the receiver did not get: $text"
done

# 5. Nobody broke the protocol on the way.
curl -sSf "$SANDBOX/sandbox/invariants" | grep '"count":0' || fail "a broken invariant"
echo "passed"
