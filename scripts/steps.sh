# What the set-ups share, to be sourced by them once $set_up is their name: where they keep things, how they say what they do, and how they
# run what takes long.
readonly cache="${TOLLGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tollgate}"
started=$SECONDS

# pip and npm bring certificates of their own; a company's proxy is known to the system's.
readonly certificates=/etc/ssl/certs/ca-certificates.crt
if [ -e "$certificates" ]; then
  export PIP_CERT="${PIP_CERT:-$certificates}" NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-$certificates}"
fi

say() { printf '\033[1m[%s %3ds]\033[0m %s\n' "$set_up" "$((SECONDS - started))" "$*"; }
fail() { printf '%s: %s\n' "$set_up" "$*" >&2; exit 1; }
key() { sha256sum | cut -c1-12; }

# How far the command got, as its log has it: [120/640], [ 12%]; nothing where it does not say.
progress() { tr '\r' '\n' <"$1" 2>/dev/null | grep -oE '\[ *[0-9]+(/[0-9]+|%)\]' | tail -n 1 || true; }

# Ctrl-C in run_logged. A command in the background never hears it: what may be begun again is ended here, with all that it started; what
# may not keeps the lock until it is done, and the next set-up waits for it.
interrupted() {
  trap '' INT TERM HUP
  if [ "$breakable" = 1 ]; then
    kill -TERM -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    say "stopped; the next set-up goes on from here"
  else
    say "this step goes on by itself to its end, for it must not be left half done; the next set-up waits for it ($log)"
  fi
  exit 130
}

# Runs a long command quietly, with a sign of life; shows the end of its output if it fails. run_logged --whole: not to be broken off.
run_logged() {
  local breakable=1 pid="" since=$SECONDS
  if [ "$1" = --whole ]; then breakable=0; shift; fi
  local log=$1; shift
  echo "$log" >"$cache/$set_up.step"
  trap interrupted INT TERM HUP
  # What may be ended gets a group of its own, to be ended as one. The rest stays in the terminal's, where sudo can ask for a password.
  if [ "$breakable" = 1 ]; then setsid "$@" >"$log" 2>&1 & else (trap '' INT TERM HUP; "$@") >"$log" 2>&1 & fi
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if (( (SECONDS - since) % 20 == 0 )); then say "    still working ($((SECONDS - since)) s): $(progress "$log")"; fi
  done
  trap - INT TERM HUP
  wait "$pid" || { tail -n 40 "$log" >&2; fail "this step failed; its whole output is in $log"; }
}

# One set-up of this name and user at a time: two would install and compile the same things in the same place.
await_lock() {
  local since=$SECONDS step
  mkdir -p "$cache"
  exec 9>"$cache/$set_up.lock"
  flock -n 9 && return
  say "another one is running; waiting for it"
  until flock -w 20 9; do
    step=$(cat "$cache/$set_up.step" 2>/dev/null || true)
    say "    still waiting for it ($((SECONDS - since)) s): $(progress "$step") its output is in $step"
  done
}
