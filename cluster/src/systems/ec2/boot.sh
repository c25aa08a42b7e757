#!/bin/bash
# A worker of bigslice. Whatever ends this script, or keeps it from ending, switches the machine
# off, and off means terminated.
systemctl set-default poweroff.target
systemd-run --unit=bigslice-boot --on-active=@BOOT_SECONDS@ systemctl poweroff
systemd-run --unit=bigslice-life --on-active=@LIFE_SECONDS@ systemctl poweroff
umask 077
HOME=$(mktemp -d "${TMPDIR:-/var/tmp}/bigslice-boot-XXXXXX")
export HOME
trap 'rm -rf "$HOME"; systemctl poweroff' EXIT
trap 'exit 1' TERM INT HUP
ulimit -n "$(ulimit -Hn)"
disks=$(lsblk -dpno NAME,MODEL | awk '/Instance Storage/ {print $1}')
disks=${disks:-@DATA@}
if [ "$(wc -w <<<"$disks")" -gt 1 ]; then
  command -v mdadm || dnf -qy install mdadm
  # shellcheck disable=SC2086
  if mdadm --create /dev/md0 --run --level=0 --raid-devices="$(wc -w <<<"$disks")" $disks; then
    disks=/dev/md0
  else
    amiss="its disks could not be striped: only one is used"
  fi
fi
disk=${disks%%[[:space:]]*}
[ -z "$disk" ] || { mkfs.xfs -qfK "$disk" && mount -o noatime "$disk" "$HOME" && chmod 700 "$HOME"; } ||
  amiss="$disk could not be used: temporary files go to the root volume"
# Said here for the console, and by boot.py to the driver: a task that finds its disk full is far from this.
export DISKS_AMISS=$amiss
echo "scratch: ${disk:-the root volume} $amiss"
cat >"$HOME/boot.py" <<'EOF'
@PYTHON@
EOF
cat >"$HOME/config.json" <<'EOF'
@CONFIG@
EOF
python3 "$HOME/boot.py"
