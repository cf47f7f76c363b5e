# Starts a throw-away Postgres cluster and ends it when nobody has used it for a while.
#
#   supervise.sh <directory of the binaries> <run directory> [words that run a command as the cluster's user…]
#
# A test that uses the cluster holds a shared lock on "users", which the kernel releases however the test ends. Who starts
# or ends the cluster holds "door". The server gets SIGINT when this script dies, so it is never orphaned.
set -eu
binaries=$1 run=$2
shift 2

"$@" "$binaries/initdb" -D "$run/data" -U postgres -A trust --no-sync -E UTF8 --locale=C.UTF-8 --no-instructions
"$@" setpriv --pdeathsig INT "$binaries/postgres" -D "$run/data" -k "$run" -c listen_addresses= \
  -c max_connections=200 -c shared_buffers=64MB -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
  -c autovacuum_naptime=10min -c logging_collector=off &
server=$!
trap 'kill -INT $server; wait $server; exit' INT TERM HUP

exec 8>>"$run/door" 9>>"$run/users"
idle=0
while sleep 5; do
  kill -0 $server 2>/dev/null || exit 1
  flock 8
  if flock --nonblock 9; then
    idle=$((idle + 1))
    if [ $idle -ge 6 ]; then
      kill -INT $server
      wait $server || true
      rm -rf "$run/data"
      exit
    fi
    flock --unlock 9
  else
    idle=0
  fi
  flock --unlock 8
done
