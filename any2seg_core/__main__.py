"""``python -m any2seg_core`` is the ``any2seg`` command."""

from any2seg_core.cli.main import main

if __name__ == "__main__":
    main()
