"""`gpubp cache`: the folder of compiled steps, its files and its size; and how to empty it."""

from __future__ import annotations

import click


@click.command()
@click.option("--clear", is_flag=True, help="Delete the files that gpubp has written there.")
def cache(clear: bool) -> None:
    """Show or empty the cache of compiled steps.

    They are compiled again when they are needed, which takes seconds. The environment variable
    GPUBP_CACHE_DIR moves the cache.
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
