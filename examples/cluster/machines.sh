#!/usr/bin/env bash
# Runs a command of tesp on several machines that ssh reaches, and ends Ray there afterwards:
#
#     examples/cluster/machines.sh machines.txt tesp sweep examples/sweep.toml
#
# machines.txt has a name a line, as ssh takes it; what follows # is left out. This machine is the head: it gives out the
# work and does none, unless HEAD_CORES says so; HEAD and PORT are its address, the port none of 10002 to 19999, which Ray
# gives to its workers. On every machine tesp[ray] of the same version must be installed at the
# same place, which is that of the `ray` found here. The machines must reach one another on all ports, and nobody else
# should: keep them in a network of their own or behind a firewall.
set -euo pipefail

list=$1
shift
bin=$(dirname "$(command -v ray)")
head=${HEAD:-$(hostname -I | cut -d' ' -f1)}
port=${PORT:-6379}
mapfile -t machines < <(sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$list")

# Whoever knows the token may run code on all machines. It is drawn anew for every call, written to no file, and given to
# the others through a pipe: arguments of commands are shown to everybody on a machine.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

on_all() {
    local code=0
    for machine in "${machines[@]}"; do
        printf '%s\n' "$RAY_AUTH_TOKEN" | ssh "$machine" "read -r RAY_AUTH_TOKEN; export RAY_AUTH_TOKEN \
RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0; $*" || code=1
    done
    return $code
}

# Of this user's Rays on these machines it ends all, whoever started them.
trap 'on_all "$bin/ray stop" || true; "$bin/ray" stop' EXIT

# A machine that is lost is known to be after some ten seconds; what it did goes on elsewhere.
"$bin/ray" start --head --node-ip-address="$head" --port="$port" --num-cpus="${HEAD_CORES:-0}" \
    --include-dashboard=false --system-config='{"health_check_period_ms": 2000, "health_check_failure_threshold": 3}'
on_all "$bin/ray start --address=$head:$port" || echo "machines.sh: some machines have not joined" >&2

"$@" --ray "$head:$port"
