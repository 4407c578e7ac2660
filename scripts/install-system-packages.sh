#!/usr/bin/env bash
# Installs the system packages behind the optional tests and tools, where this user may.
# Without them the dependent tests skip with a reason (and fail when CI=true).
set -u
packages=(
  clang-22 llvm-22 libclang-rt-22-dev clang-format-22 # LX6 code generation, sanitizers, fuzzing
  qemu-system-misc binutils-xtensa-lx106              # runs and links LX6 programs
  mosquitto                                           # the broker of the gateway's tests
  systemd                                             # checks the generated service units
  postgresql                                          # the fleet store's tests
  chromium                                            # browser tests
)
if ! command -v apt-get >/dev/null; then
  echo "note: no apt-get here; install by hand: ${packages[*]}" >&2
  exit 0
fi
missing=()
for package in "${packages[@]}"; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
run=()
if [ "$(id -u)" -ne 0 ]; then
  if sudo -n true 2>/dev/null; then run=(sudo -n); else
    echo "note: not root; some tests will be skipped. As root: apt-get install ${missing[*]}" >&2
    exit 0
  fi
fi
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -q
# One by one: a distribution that lacks one of them still gets the others.
for package in "${missing[@]}"; do
  "${run[@]}" apt-get install -q -y --no-install-recommends "$package" ||
    echo "note: $package could not be installed; its tests will be skipped" >&2
done
exit 0
