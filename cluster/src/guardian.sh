# Guards one directory and the process in it, for an owner who may die without notice.
#   $1 the signal to end the process with   $2 remove|keep the directory   $3 the directory
# Standard input is a pipe from the owner, which carries the process' id when it starts and an empty line
# when it has ended. The system closes the pipe when the owner is gone, however it went.
trap '' HUP INT TERM

process=
while read -r line; do process=$line; done

running() {
    kill -0 "$process" 2>/dev/null || return 1
    # One that has ended and that nobody has waited for yet still has its number.
    { read -r stat <"/proc/$process/stat"; } 2>/dev/null || return 0
    case ${stat##*) } in Z*) return 1 ;; esac
}

if [ -n "$process" ]; then
    kill "-$1" "$process" 2>/dev/null
    kill -CONT "$process" 2>/dev/null # a paused one would not notice
    tries=0
    while running; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ]; then kill -KILL "$process"; break; fi
        sleep 0.05
    done
fi
if [ "$2" = remove ]; then rm -rf -- "$3"; fi
