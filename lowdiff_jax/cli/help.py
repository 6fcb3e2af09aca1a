"""What --help prints, and the completion of words in a shell."""

import textwrap

from absl import flags

from lowdiff_jax.cli import NAMES
from lowdiff_jax.experiment import pages
from lowdiff_jax.experiment.fields import SCHEMA
from lowdiff_jax.experiment.overrides import read_page
from lowdiff_jax.experiment.schema import stage_names

OPTIONS = ("--help", "-h", "-help")
_WIDTH, _INDENT = 80, 22

_HELP = """\
LowDiff: image generation as a cascade of increasing resolutions.

  lowdiff --config=digits                        trains a cascade, and scores it
  lowdiff --workdir=runs/digits --mode=sample    a run knows its config
  lowdiff --config=digits --mode=config          every field, explained

`python -m lowdiff_jax.main` is the same command.

Pages for --config
{pages}

Modes
{modes}

Flags
{flags}
  --config.SECTION.FIELD=VALUE
                      Sets a field; --mode=config lists them.

Commands
{commands}
"""

_COMMANDS = {
  "push": "push FOLDER OWNER/NAME publishes what --mode=export has written.",
  "completions": "Prints what Bash or Zsh completes the command's words by: "
  "source <(lowdiff completions)",
}

_COMPLETIONS = """\
# Zsh: autoload -U +X bashcompinit && bashcompinit
_lowdiff() {{
  local line="${{COMP_LINE:0:COMP_POINT}}"
  local word="${{line##* }}"
  COMPREPLY=($(compgen -W "{words}" -- "$word"))
  # Bash replaces what follows the last = alone.
  [[ $word != *=* ]] || COMPREPLY=("${{COMPREPLY[@]#*=}}")
}}
complete -o default -o nospace -F _lowdiff lowdiff
"""


def text() -> str:
  """All of --help."""
  return _HELP.format(
    pages=_table(pages.summaries()),
    modes=_table(NAMES),
    flags=_table({f"--{flag.name}": flag.help for flag in _flags()}),
    commands=_table(_COMMANDS),
  )


def completions() -> str:
  """Commands for Bash or Zsh that complete flags, modes, pages and fields."""
  names = [field.name for _, field, staged in SCHEMA.everything() if not staged]
  staged = [field.name for _, field, staged in SCHEMA.everything() if staged]
  sides = {
    side for page in pages.names() for side in stage_names(read_page(page))
  }
  names += [f"stages.{side}.{name}" for side in sides for name in staged]
  words = {
    *(f"--{flag.name}=" for flag in _flags() if not flag.boolean),
    *(f"--{flag.name}" for flag in _flags() if flag.boolean),
    *(f"--mode={mode}" for mode in NAMES),
    *(f"--config={page}" for page in pages.names()),
    *(f"--config.{name}=" for name in names),
    *_COMMANDS,
  }
  return _COMPLETIONS.format(words=" ".join(sorted(words)))


def _flags() -> list[flags.Flag]:
  """The flags of this package, those of the command itself first."""
  own = {
    module: found
    for module, found in flags.FLAGS.flags_by_module_dict().items()
    if module.startswith("lowdiff_jax")
  }
  first = own.pop("lowdiff_jax.cli.main")
  return [*first, *(flag for found in own.values() for flag in found)]


def _table(rows: dict[str, str]) -> str:
  """A row for each name; what it is stands beside it."""
  return "\n".join(
    textwrap.fill(
      f"  {name:{_INDENT - 2}}{what}",
      _WIDTH,
      subsequent_indent=" " * _INDENT,
      break_on_hyphens=False,
    )
    for name, what in rows.items()
  )
