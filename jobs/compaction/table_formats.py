"""The compacted tables as Iceberg or Delta tables, by their own libraries: over the same files."""

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from jobs.compaction.tables import MAPS, SCORES
from jobs.errors import SettingsError
from jobs.storage import files as storage
from jobs.storage.redaction import redacted

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

TableFormat = Literal["iceberg", "delta"]

FOLDER = "iceberg"
"""Below the output: where an Iceberg table's own files lie if no catalogue says another place."""
_LIBRARIES = {"iceberg": "pyiceberg", "delta": "deltalake"}


def check_table_format(format: TableFormat, namespace: str, overwrite: bool) -> None:
    """Check before any work that tables can be made.

    Parameters
    ----------
    format : {"iceberg", "delta"}
    namespace : str
        Of Iceberg tables, in the user's catalogue.
    overwrite : bool
        Whether tables that are there may be replaced.

    Raises
    ------
    SettingsError
        If the library is missing, the catalogue cannot be reached, or has such tables already.
    """
    library = _LIBRARIES[format]
    if importlib.util.find_spec(library) is None:
        raise SettingsError(f"--table-format {format} needs {library}: pip install '.[{format}]'")
    if format == "delta" or (configured := _configured()) is None:
        return
    name, properties = configured
    try:
        catalogue = _catalogue(name, properties)
        there = [f"{namespace}.{kind}" for kind in (SCORES, MAPS) if catalogue.table_exists((namespace, kind))]
    except Exception as error:  # every kind of catalogue has errors of its own
        raise SettingsError(f"the Iceberg catalogue {name} cannot be used: {redacted(str(error))}") from error
    if there and not overwrite:
        raise SettingsError(
            f"the Iceberg catalogue {name} has {' and '.join(there)} already: give --overwrite, or another --namespace"
        )


def make_tables(format: TableFormat, output: str, namespace: str) -> dict[str, str]:
    """Make a table of the scores and one of the maps; return by these names where engines find each.

    Parameters
    ----------
    format : {"iceberg", "delta"}
    output : str
        Of the compaction. A Delta table is the folder `scores` or `maps` itself.
    namespace : str
    """
    kinds = (SCORES, MAPS)
    if format == "delta":
        from deltalake import convert_to_deltalake

        for kind in kinds:
            convert_to_deltalake(storage.join(output, kind))
        return {kind: storage.join(output, kind) for kind in kinds}
    configured = _configured()
    catalogue = _catalogue(*configured) if configured is not None else _own_catalogue(storage.join(output, FOLDER))
    catalogue.create_namespace_if_not_exists(namespace)
    return {kind: _make_iceberg_table(catalogue, output, namespace, kind) for kind in kinds}


def _make_iceberg_table(catalogue: "Catalog", output: str, namespace: str, kind: str) -> str:
    import pyarrow.parquet as pq

    folder = storage.join(output, kind)
    files = sorted(uri for uri in storage.file_sizes(folder) if uri.rpartition("/")[0] == folder)
    with storage.LocalCopy(files[0]) as path:
        schema = pq.read_schema(path)
    if catalogue.table_exists((namespace, kind)):
        catalogue.drop_table((namespace, kind))
    table = catalogue.create_table((namespace, kind), schema=schema)
    table.add_files(files)
    return str(table.metadata_location)


def _configured() -> tuple[str, dict[str, Any]] | None:
    """Return name and properties of the default catalogue of pyiceberg's configuration, if it describes one."""
    from pyiceberg.utils.config import Config

    config: Any = Config()
    name: str = config.get_default_catalog_name()
    properties = config.get_catalog_config(name)
    return (name, properties) if properties else None


def _catalogue(name: str, properties: dict[str, Any]) -> "Catalog":
    from pyiceberg.catalog import load_catalog

    return load_catalog(name, **properties)


def _own_catalogue(folder: str) -> "Catalog":
    """Return a catalogue that ends with this process: the metadata files stay, by which tables can be opened."""
    from pyiceberg.catalog.memory import InMemoryCatalog

    return InMemoryCatalog("saliency", warehouse=folder)
