"""Rows whose work is not worth another attempt: a status instead."""

import pyarrow as pa


def given_up(rows: pa.Table, step: str) -> pa.Table:
    """Return the rows with the status method_error instead of ok, and without the network's input.

    Parameters
    ----------
    rows : pyarrow.Table
        Of `tables.PREPARED` or `tables.ATTRIBUTED`.
    step : str
        What is not done, for a person.
    """
    message = (
        f"WorkerDiedError: every process died that worked on the shard of this image ({step}); "
        "the fault may be another image's: a new run with --rows-per-file 1 tells whose"
    )
    statuses, errors = rows["status"].to_pylist(), rows["error"].to_pylist()
    for index, status in enumerate(statuses):
        if status in ("ok", "mask_error"):
            statuses[index], errors[index] = "method_error", message
    changed = {"status": statuses, "error": errors, "input": [None] * len(rows)}
    columns = {
        field.name: pa.array(changed[field.name], field.type) if field.name in changed else rows[field.name]
        for field in rows.schema
    }
    return pa.table(columns, schema=rows.schema)
