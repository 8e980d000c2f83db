#!/bin/sh
# Installs what is missing to build (default) or to check tenet on Debian and Ubuntu.
#   tools/deps.sh [build|check|mpi]
# mpi: for training on several machines; any MPI library that brings mpicc will do.
# Needs root or sudo only when something is missing. Elsewhere it says what to install.
set -eu
want=${1:-build}
missing= extra=

# need PACKAGE COMMAND...: the package is missing when the command fails
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
lib() { pkg-config --exists "$1"; }

need gcc command -v gcc
need make command -v make
need pkg-config command -v pkg-config
need libc6-dev test -e /usr/include/stdio.h
need libjansson-dev lib jansson
need libutf8proc-dev lib libutf8proc
need libyaml-dev lib yaml-0.1
need zlib1g-dev lib zlib
if [ "$want" = check ]; then
    need clang command -v clang
    need perl command -v perl
fi
# Not needed to build: without libcurl no endpoint can be a judge; without the others there is no tenet-mpi.so, and tests
# of ranks under mpirun are skipped.
required=$missing missing=
need libcurl4-openssl-dev lib libcurl
if [ "$want" != build ]; then
    need libopenmpi-dev command -v mpicc
    need openmpi-bin command -v mpirun
fi
if [ "$want" = mpi ]; then missing="$required$missing"; else extra=$missing missing=$required; fi
[ -n "$missing$extra" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    [ -n "$missing" ] || exit 0
    echo "missing (Debian's names):$missing" >&2
    echo "install them with your system's package manager and start again" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || [ -n "$missing" ] || exit 0
    command -v sudo >/dev/null 2>&1 || { echo "missing:$missing; install them as root, or install sudo" >&2; exit 1; }
    as_root=sudo
    [ -n "$missing" ] || as_root="sudo -n" # nobody is asked for a password for what can be done without
fi
echo "installing:$missing$extra"
export DEBIAN_FRONTEND=noninteractive
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y \
        install --no-install-recommends "$@" >/dev/null
}
$as_root apt-get -o DPkg::Lock::Timeout=300 -qq update || [ -z "$missing" ] || exit 1
# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing
# shellcheck disable=SC2086
[ -z "$extra" ] || install $extra || echo "going on without$extra"
