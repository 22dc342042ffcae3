#!/bin/sh
# Installs what tests/slurm needs on Debian or Ubuntu (as root). Quick when it is all there.
set -eu

installed() {
    for program in slurmctld slurmd slurmdbd sacctmgr munged mariadbd; do
        command -v "$program" >/dev/null || return 1
    done
}

if installed; then
    exit 0
fi
# The packages' own services must not start beside the test's daemons.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends slurm-wlm slurmdbd munge mariadb-server
