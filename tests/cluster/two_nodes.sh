#!/usr/bin/env bash
# A cluster of two nodes on this machine loses one in the middle of a run: do the results have the
# bytes of a run that nothing disturbed? By hand, as root on Debian or Ubuntu, in an environment with
# the workflow installed:
#
#   tests/cluster/two_nodes.sh                                    # all at scale smoke
#   LOST_AFTER=90 tests/cluster/two_nodes.sh --config scale=laptop \
#       -- results/laptop/runs/baratin2021/resnet18_clean/100.csv # what a node leaves in the middle
#
# It installs SLURM and Snakemake's plugin for it, and stops and removes its own cluster at the end.
set -euo pipefail

repository="$(cd "$(dirname "$0")/../.." && pwd)"
work="$(mktemp --directory "${TMPDIR:-/tmp}/two_nodes.XXXX")"
targets=("$@")
[ $# -gt 0 ] || targets=(all --config scale=smoke)
lost_after="${LOST_AFTER:-60}"  # seconds, after which node two goes as soon as it computes
conf=/etc/slurm/slurm.conf

say() { echo "$(date +%T) $*"; }

[ "$(id -u)" = 0 ] || { echo "error: SLURM's daemons need root" >&2; exit 1; }
command -v snakemake > /dev/null || { echo "error: activate .venv first" >&2; exit 1; }
[ ! -e "$conf" ] || { echo "error: $conf exists: this machine has a SLURM of its own" >&2; exit 1; }

say "install SLURM and the plugin"
DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends \
    slurm-wlm munge > "$work/apt.log" 2>&1
python -m pip install --quiet "snakemake-executor-plugin-slurm>=2.8,<3"

stop() {
    scancel --user=root 2> /dev/null || true
    for daemon in slurmd-one slurmd-two slurmctld munged; do
        [ ! -s "$work/$daemon.pid" ] || kill "$(cat "$work/$daemon.pid")" 2> /dev/null || true
    done
    rm -f "$conf"
    say "what is left to look at: $work"
}
trap stop EXIT

say "start two nodes"
mkdir -p "$(dirname "$conf")" "$work"/{state,spool-one,spool-two}
chmod 755 "$work"
cat > "$conf" <<EOF
ClusterName=two_nodes
SlurmctldHost=$(hostname)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
StateSaveLocation=$work/state
SlurmctldPidFile=$work/slurmctld.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdSpoolDir=$work/spool-%n
SlurmdPidFile=$work/slurmd-%n.pid
SlurmdLogFile=$work/slurmd-%n.log
SlurmdParameters=config_overrides
SlurmdTimeout=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=one NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17001 CPUs=10 RealMemory=12000
NodeName=two NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=17002 CPUs=10 RealMemory=12000
PartitionName=cpu Nodes=one,two Default=YES LLN=YES State=UP
EOF
head --bytes=1024 /dev/urandom > "$work/munge.key"
chmod 600 "$work/munge.key"
munged --force --key-file="$work/munge.key" --socket="$work/munge.socket" \
    --pid-file="$work/munged.pid" --log-file="$work/munged.log" --seed-file="$work/munge.seed"
slurmctld
for node in one two; do slurmd -N "$node"; done
until [ "$(sinfo --noheader --Node --states=idle | wc -l)" = 2 ]; do sleep 1; done
sinfo --Node --long

for copy in undisturbed disturbed; do
    git clone --quiet "$repository" "$work/$copy"
done
export PYTHONUNBUFFERED=1

say "a run that nothing disturbs"
(cd "$work/undisturbed" && PYTHONPATH="$PWD/src" \
    snakemake --cores 2 "${targets[@]}" > "$work/undisturbed.log" 2>&1)

say "the same on the cluster"
(cd "$work/disturbed" && PYTHONPATH="$PWD/src" snakemake --profile profiles/slurm --jobs 4 \
    --latency-wait 5 --slurm-no-account --slurm-status-command squeue \
    --slurm-init-seconds-before-status-checks 5 "${targets[@]}" > "$work/disturbed.log" 2>&1) &
running=$!

sleep "$lost_after"
computing() { squeue --noheader --nodelist=two --states=RUNNING --format="%A %k %M" | grep compute; }
until lost="$(computing)"; do
    kill -0 "$running" || { echo "error: it ended before node two computed; LOST_AFTER?" >&2; exit 1; }
    sleep 0.5
done
say "node two is lost, with what it computes: $lost"
kill -9 "$(cat "$work/slurmd-two.pid")"
grep --files-with-matches --null-data --line-regexp SLURMD_NODENAME=two \
    /proc/[0-9]*/environ 2> /dev/null | while read -r environ; do
    kill -9 "$(basename "$(dirname "$environ")")" 2> /dev/null || true
done || true  # some processes have ended, or are not ours to read
while read -r job _; do
    pkill -9 --full "slurmstepd: \[$job\." || true
done <<< "$lost"

wait "$running" || { tail -n 40 "$work/disturbed.log"; exit 1; }
sinfo --Node --long
grep --extended-regexp "failed|NODE_FAIL|Trying to restart" "$work/disturbed.log" | head -n 20 || true
grep --recursive "resume" "$work/disturbed/results" --include="*.log" || true

say "compare"
cd "$work"
count=0
while read -r file; do
    cmp "undisturbed/$file" "disturbed/$file"
    count=$((count + 1))
done < <(cd undisturbed && find results figures -type f \
    \( -name "*.csv" -o -name "*.npz" -o -name "*.pdf" -o -name "*.png" \))
say "$count files of tables, arrays and figures have the same bytes"
