"""Run one file of tests under MicroPython: `micropython run.py test_modbus`, found by MICROPYPATH.

Prints a line for each test, its traceback if it failed, and a closing line; the exit code is 1 if a test
failed or if there was none. (CPython runs the same files with pytest; this runner works there as well.)
"""

import sys

try:
    from sys import print_exception  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # CPython
    from traceback import print_exception


def run(module):
    """Run all functions of `module` whose name begins with test_, and give (passed, failed)."""
    names = sorted(name for name in dir(module) if name.startswith("test_"))
    failed = 0
    for name in names:
        try:
            getattr(module, name)()
        except Exception as error:
            failed += 1
            print("FAILED", name)
            print_exception(error)
        else:
            print("passed", name)
    return len(names) - failed, failed


def main():
    """Run the module named on the command line and exit."""
    module = __import__(sys.argv[1])
    passed, failed = run(module)
    print("%s: %d passed, %d failed" % (sys.argv[1], passed, failed))
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
