"""``python -m eegaug.cli``."""

from eegaug.cli import main

main()
