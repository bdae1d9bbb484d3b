"""What the scripts beside it check with: the first check that fails ends the script."""

import sys

count = 0


def check(condition, what):
    global count
    count += 1
    if not condition:
        print(f"FAILED: {what}", file=sys.stderr)
        sys.exit(1)
