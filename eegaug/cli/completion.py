"""``eegaug completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands and options.

    \b
    Example:
      eval "$(eegaug completion bash)"                      in ~/.bashrc
      eval "$(eegaug completion zsh)"                       in ~/.zshrc
      eegaug completion fish > ~/.config/fish/completions/eegaug.fish
    """
    root = ctx.find_root()
    script = get_completion_class(shell)(root.command, {}, root.info_name, "_EEGAUG_COMPLETE")
    click.echo(script.source())
