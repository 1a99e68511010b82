# Sourced first by the other scripts: -h or --help prints the comment at the script's head, and nothing runs.

for word in "$@"; do
    if [[ "$word" == -h || "$word" == --help ]]; then
        sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
        exit 0
    fi
done
