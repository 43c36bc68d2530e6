"""Tables of numbers, categories and gaps as the rows of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from gpubp.tables.column_types.column_type import ColumnType
from gpubp.tables.decimal_sign import settled
from gpubp.tables.encoding.encode_rows import Layout
from gpubp.tables.encoding.encoded import Bound
from gpubp.tables.encoding.encoder_parts import Parts, header_of, parts_from, tensors_of
from gpubp.tables.encoding.encodings import CategoryEncoding, Encoding
from gpubp.tables.encoding.fit_columns import ColumnOptions, fit_columns, summary_of
from gpubp.tables.frame import as_table, has_names
from gpubp.tables.table import DataError, Table, TakenColumns
from gpubp.tables.target import without_targets

Array = NDArray[Any]


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode the columns of a table as standardised numbers and one-hot categories.

    Finds out what each column means (see `find_type`); columns of no use are left out, and
    ``summary`` tells why. Numbers are standardised, with the median for gaps and an indicator of
    gaps; categories are one-hot with outputs for other values and for gaps; dates become parts.

    Parameters
    ----------
    features : sequence of str, default=None
        The columns to use; None: all.
    drop : sequence of str, default=()
        Columns to leave out.
    categorical, numeric : sequence of str, default=()
        Columns that are categories or numbers whatever their values look like.
    date : sequence of str, default=()
        Columns that are dates; "name:dmy" or "name:mdy" tells that the day or the month is first.
    min_frequency : int or "auto", default="auto"
        The rows that a category needs for an output of its own. "auto": 2 below 200 rows, 5
        above.
    max_categories : int, default=500
        The most categories of a column that have outputs of their own.
    na : sequence of str, default=None
        Texts in frames and arrays that mean "no value", besides the built-in list; a `Table` has
        its gaps already.
    dtype : {"float32", "float64"}, default="float32"
        Of the encoded rows.
    sparse : bool or "auto", default="auto"
        Whether to return CSR; "auto": where the dense array would exceed 256 MiB and CSR takes
        less than half of it.

    Attributes
    ----------
    types_ : tuple of ColumnType
        Of all columns that are not excluded by ``features`` and ``drop``.
    encodings_ : tuple of Encoding
        Of the used columns.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the data had names.
    n_features_out_ : int
    decimal_ : {".", ",", None}
        The decimal sign of the table, for a reader of further rows; None if nothing showed it.
    """

    def __init__(
        self,
        *,
        features: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        date: Sequence[str] = (),
        min_frequency: int | Literal["auto"] = "auto",
        max_categories: int = 500,
        na: Sequence[str] | None = None,
        dtype: str = "float32",
        sparse: bool | Literal["auto"] = "auto",
    ) -> None:
        self.features = features
        self.drop = drop
        self.categorical = categorical
        self.numeric = numeric
        self.date = date
        self.min_frequency = min_frequency
        self.max_categories = max_categories
        self.na = na
        self.dtype = dtype
        self.sparse = sparse

    def fit(self, X: Any, y: Any = None, *, whole: Table | None = None) -> Self:
        """Learn the types and encodings of all columns of X: a Table, a frame or an array.

        whole: a Table of these rows and others, such as those of a test: the kinds of the columns
        are found by all of them, what is encoded by X alone.
        """
        self._fit_table(self._read(X), whole, has_names(X))
        return self

    def fit_transform(self, X: Any, y: Any = None, *, whole: Table | None = None) -> Any:
        """Fit, and return X encoded; the arguments are those of fit."""
        table = self._read(X)
        self._fit_table(table, whole, has_names(X))
        return self._encode(table)

    def fit_transform_parts(
        self, X: Any, *parts: Array, whole: Table | None = None
    ) -> tuple[Any, ...]:
        """Fit to the rows at the places of the first part; return each part of X encoded.

        whole: as fit takes it; the rows of X without it.
        """
        table = self._read(X)
        learned = replace(
            table, columns=TakenColumns(table.columns, parts[0]), n_rows=len(parts[0])
        )
        self._fit_table(learned, table if whole is None else whole, has_names(X))
        layout = self._layout(table)
        return tuple(layout.rows(len(part), part) for part in parts)

    def transform(self, X: Any) -> Any:
        """Encode rows as an array (n, d), or CSR where that is far smaller.

        The columns of tables and frames are taken by name, in any order; others are ignored.
        Raises DataError for missing columns and for cells that cannot be encoded.
        """
        check_is_fitted(self)
        return self._encode(self._read_again(X))

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """The names of the encoded columns."""
        check_is_fitted(self)
        inputs = _check_feature_names_in(self, input_features)
        if input_features is None:
            inputs = self._names
        new = dict(zip(self._names, map(str, inputs), strict=True))
        names = [
            output
            for encoding in self.encodings_
            for output in encoding.renamed(new[encoding.type.name]).outputs
        ]
        return np.array(names, dtype=object)

    def summary(self) -> list[dict[str, Any]]:
        """One dict per column: how it is encoded, or why it is left out.

        column, type, gaps, used, remarks: the name, the kind, rows without a value, and remarks.
        encoding, outputs: in words, and how many inputs of the network; None and 0 if left out.
        fill: what gaps count as, the median or the more frequent word; None for other columns.
        categories: the values with inputs of their own; None for other columns.
        reason: id, constant, text or empty for a column that is left out, else None.
        """
        check_is_fitted(self)
        encodings = {encoding.type.name: encoding for encoding in self.encodings_}
        return [summary_of(found, encodings.get(found.name)) for found in self.types_]

    @property
    def column_names_(self) -> tuple[str, ...]:
        """The names of the columns that fit was given: x0, x1, ... for an array."""
        check_is_fitted(self)
        return self._names

    @property
    def text_columns_(self) -> tuple[str, ...]:
        """The columns that a reader should take as written, though all cells may be numbers.

        1.234 is 1234 where the sign is a comma, and "1.10" is another category than "1.1".
        """
        check_is_fitted(self)
        return tuple(each.type.name for each in self.encodings_ if self._is_as_written(each))

    def _is_as_written(self, encoding: Encoding) -> bool:
        if isinstance(encoding, CategoryEncoding):
            return not encoding.from_numbers
        found = encoding.type
        return found.kind == "number" and found.decimal != (self.decimal_ or ".")

    def to_header(self) -> dict[str, Any]:
        """The part of the fitted encoder that JSON can hold."""
        check_is_fitted(self)
        return header_of(self._parts())

    def tensors(self) -> dict[str, Array]:
        """The arrays of the fitted encoder, by names that from_parts knows."""
        check_is_fitted(self)
        return tensors_of(self._parts())

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, Array]) -> Self:
        """The encoder of to_header and tensors; ValueError for anything that does not fit."""
        parts = parts_from(header, tensors)
        encoder = cls(dtype=parts.dtype, sparse=parts.sparse)
        encoder._set(parts.names, parts.named, parts.types, parts.encodings, parts.decimal)
        return encoder

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _read(self, X: Any) -> Table:
        """X as a table, to learn from: without the columns that cannot be features."""
        table = as_table(X, na=self.na, estimator=self, min_rows=1)
        if table.only_targets:
            table = without_targets(table, ())
        table = table if isinstance(X, Table) else settled(table)
        if not len(table):
            raise DataError(f"{table.source} has no rows; give at least one")
        return table

    def _read_again(self, X: Any) -> Table:
        """X as a table with the columns of fit."""
        if has_names(X):
            return as_table(X, na=self.na)
        table = as_table(X, na=self.na, estimator=self)
        if len(table.columns) != self.n_features_in_:
            raise ValueError(
                f"X has {len(table.columns)} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        columns = dict(zip(self._names, table.columns.values(), strict=True))
        return replace(table, columns=columns)

    def _fit_table(self, table: Table, whole: Table | None, named: bool) -> None:
        options = ColumnOptions(
            features=None if self.features is None else _names("features", self.features),
            drop=_names("drop", self.drop),
            categorical=_names("categorical", self.categorical),
            numeric=_names("numeric", self.numeric),
            date=_names("date", self.date),
            min_frequency=self.min_frequency,
            max_categories=self.max_categories,
        )
        self._check_output_options()
        types, encodings = fit_columns(table, options, whole)
        self._set(table.names, named, types, encodings, table.decimal)

    def _check_output_options(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {self.dtype!r}; give 'float32' or 'float64'")
        if not (isinstance(self.sparse, bool) or self.sparse == "auto"):  # 1 equals True
            raise ValueError(f"sparse is {self.sparse!r}; give True, False or 'auto'")

    def _set(
        self,
        names: Sequence[str],
        named: bool,
        types: tuple[ColumnType, ...],
        encodings: tuple[Encoding, ...],
        decimal: str | None = None,
    ) -> None:
        self.decimal_ = decimal
        self._names, self._named = tuple(names), named
        self.types_, self.encodings_ = types, encodings
        self.n_features_in_ = len(self._names)
        self.n_features_out_ = sum(len(encoding.outputs) for encoding in encodings)
        if named:
            self.feature_names_in_ = np.array(self._names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _parts(self) -> Parts:
        names, types, encodings = self._names, self.types_, self.encodings_
        return Parts(names, self._named, types, encodings, self.dtype, self.sparse, self.decimal_)

    def _encode(self, table: Table) -> Any:
        return self._layout(table).rows(len(table))

    def _layout(self, table: Table) -> Layout:
        """How the rows of a table are encoded."""
        widths = [len(encoding.outputs) for encoding in self.encodings_]
        return Layout.of(self._bind(table), widths, len(table), self.dtype, self.sparse)

    def _bind(self, table: Table) -> list[Bound]:
        """The used columns of a table, checked."""
        names = [encoding.type.name for encoding in self.encodings_]
        table.require(names)
        for name in names:
            if name in table.doubled and f"{name}.1" not in self._names:
                raise DataError(
                    f"{table.source} has several columns {name!r}, but the model knows one; "
                    "rename or remove the others"
                )
        bound, problems = [], []
        for encoding in self.encodings_:
            name = encoding.type.name
            try:
                bound.append(
                    encoding.bind(
                        table.columns[name],
                        lambda row, name=name: table.where(row, name),  # type: ignore[misc]
                        self.dtype,
                    )
                )
            except DataError as error:
                problems.append(str(error))
        if problems:
            more = f"; and {len(problems) - 5} more columns" if len(problems) > 5 else ""
            raise DataError(
                f"{'; '.join(problems[:5])}{more}; correct the cells, or name those that mean "
                "'missing' by --na"
            )
        return bound


def _names(option: str, value: Any) -> tuple[str, ...]:
    names = () if value is None else value
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"{option} is {value!r}; give a list of column names")
    names = tuple(names)
    if not all(isinstance(name, str | int | np.integer) for name in names):
        raise ValueError(f"{option} is {value!r}; give names as text")
    return tuple(map(str, names))  # as frames whose columns are numbered have them
