"""`gpubp cache`: show the folder and size of the cache of compiled steps, or empty it."""

from __future__ import annotations

import click


@click.command()
@click.option("--clear", is_flag=True, help="Delete the files that gpubp wrote to the cache.")
def cache(clear: bool) -> None:
    """Show or empty the cache of compiled steps.

    Deleted steps are compiled again at their next use, which takes seconds. The environment
    variable GPUBP_CACHE_DIR sets the folder of the cache.
    """
    from gpubp.kernels.host.cache import compiled_folder, files, open_cache

    folder, opened = compiled_folder(), open_cache(create=False)
    click.echo(f"{'folder':<8} {folder or opened.reason}")
    if folder is None or not folder.exists():
        click.echo(f"{'files':<8} 0")
        return
    if opened.reason:
        click.echo(f"{'unused':<8} {opened.reason}")
    found = list(files(folder))
    size = sum(path.stat().st_size for path in found)
    if not clear:
        click.echo(f"{'files':<8} {len(found)}")
        click.echo(f"{'size':<8} {_megabytes(size)}")
        return
    for path in found:
        path.unlink(missing_ok=True)
    click.echo(f"{'deleted':<8} {len(found)} files, {_megabytes(size)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
