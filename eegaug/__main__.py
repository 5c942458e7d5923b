"""``python -m eegaug``."""

from eegaug.cli import main

main()
