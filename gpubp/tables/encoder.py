"""TableEncoder: convert the columns of a table to numbers for a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from gpubp.tables.encoding.fit_columns import ColumnOptions, fit_columns, names_given, summary_of
from gpubp.tables.frame import as_table, has_names
from gpubp.tables.table import DataError, Table, TakenColumns
from gpubp.tables.target import without_targets

Array = NDArray[Any]


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode the columns of a table as scaled numbers and one-hot categories.

    The kind of each column is detected (see `find_type`). Ids, free text, constant and empty
    columns are left out; ``summary`` gives the reason. Numbers are standardised, or scaled as
    ``scaling`` says; a missing value becomes the median, and an extra output indicates it.
    Categories are one-hot encoded, with outputs for other values and for missing ones. Dates are
    split into parts such as year, month and weekday.

    Parameters
    ----------
    features : sequence of str, default=None
        Names of the columns to use; None for all columns.
    drop : sequence of str, default=()
        Names of columns to leave out.
    categorical, numeric : sequence of str, default=()
        Names of columns to treat as categories or as numbers, whatever their values look like.
    date : sequence of str, default=()
        Names of columns to treat as dates. "name:dmy" and "name:mdy" also give the order of day,
        month and year.
    min_frequency : int or "auto", default="auto"
        Smallest number of rows of a category that gets an output of its own; rarer categories
        share one output. "auto": 2 below 200 rows, else 5.
    max_categories : int, default=500
        Largest number of categories per column with outputs of their own; the most frequent ones
        get them.
    na : sequence of str, default=None
        Texts in frames and arrays that mean "no value", in addition to the built-in list;
        ("",): only the empty text means "no value". Ignored for a `Table`, whose missing values
        are already marked.
    dtype : {"float32", "float64"}, default="float32"
        Floating-point type of the encoded rows.
    sparse : bool or "auto", default="auto"
        Whether the encoded rows are a CSR matrix instead of an array. "auto": if the array would
        be larger than 256 MiB, and the CSR matrix less than half as large.
    scaling : {"standard", "robust"}, default="standard"
        How to scale numbers. "standard": (x - mean) / standard deviation. "robust":
        z / sqrt(1 + z² / 9) for z = (x - median) / interquartile range, so that outliers end near
        3, then standardised; a column with heavy tails gets a second output, the asinh of
        x - median in units of the median distance.

    Attributes
    ----------
    types_ : tuple of ColumnType
        Types of all columns that are not excluded by ``features`` and ``drop``.
    encodings_ : tuple of Encoding
        Encodings of the used columns.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; only set if X has names.
    n_features_out_ : int
        Number of columns of the encoded rows.
    decimal_ : {".", ",", None}
        Decimal sign of numbers in the text of X; None if X does not show it. New rows are read
        with it.
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
        scaling: Literal["standard", "robust"] = "standard",
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
        self.scaling = scaling

    def fit(self, X: Any, y: Any = None, *, whole: Table | None = None) -> Self:
        """Learn the types and encodings of the columns of X; return self.

        X : a Table, a frame or an array.
        y : ignored.
        whole : a Table of the rows of X and others, such as test rows. The kinds of the columns
            are detected from ``whole``; the encodings are learned from X only. None stands for X.
        """
        self._fit_table(self._read(X), whole, has_names(X))
        return self

    def fit_transform(self, X: Any, y: Any = None, *, whole: Table | None = None) -> Any:
        """Fit and return X encoded; the arguments are those of fit."""
        table = self._read(X)
        self._fit_table(table, whole, has_names(X))
        return self._encode(table)

    def fit_transform_parts(
        self, X: Any, *parts: Array, whole: Table | None = None
    ) -> tuple[Any, ...]:
        """Fit to the rows of the first part of X; return all parts encoded.

        parts : arrays of row indices of X.
        whole : as for fit.
        """
        table = self._read(X)
        learned = replace(
            table, columns=TakenColumns(table.columns, parts[0]), n_rows=len(parts[0])
        )
        self._fit_table(learned, table if whole is None else whole, has_names(X))
        layout = self._layout(table)
        return tuple(layout.rows(len(part), part) for part in parts)

    def transform(self, X: Any) -> Any:
        """Return the encoded rows, (n, n_outputs): an array or a CSR matrix, see ``sparse``.

        Columns of tables and frames are matched by name; unknown columns are ignored.

        Raises DataError for missing columns and for cells that cannot be encoded.
        """
        check_is_fitted(self)
        return self._encode(self._read_again(X))

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the names of the encoded columns, one per output."""
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
        """Return one dict per column: how it is encoded, or why it is left out.

        column, type : name and kind of the column.
        gaps : number of rows without a value.
        used : whether the column is encoded.
        remarks : phrases for the user.
        encoding : description of the encoding; None if the column is left out.
        outputs : number of encoded columns; 0 if the column is left out.
        fill : value that replaces gaps: the median, or the more frequent word of a boolean column;
            None for other columns.
        categories : values with outputs of their own; None for other columns.
        reason : "id", "constant", "text" or "empty" for a column that is left out, else None.
        """
        check_is_fitted(self)
        encodings = {encoding.type.name: encoding for encoding in self.encodings_}
        return [summary_of(found, encodings.get(found.name)) for found in self.types_]

    @property
    def column_names_(self) -> tuple[str, ...]:
        """Names of the columns given to fit; x0, x1, ... for an array."""
        check_is_fitted(self)
        return self._names

    @property
    def text_columns_(self) -> tuple[str, ...]:
        """Names of the columns to read as text in new tables, even if all cells are numbers.

        As numbers, their cells would lose their spelling. For example, the categories "1.10" and
        "1.1" differ, and "1.234" means 1234 if the decimal sign is a comma.
        """
        check_is_fitted(self)
        return tuple(each.type.name for each in self.encodings_ if self._is_as_written(each))

    def _is_as_written(self, encoding: Encoding) -> bool:
        if isinstance(encoding, CategoryEncoding):
            return not encoding.from_numbers
        found = encoding.type
        return found.kind == "number" and found.decimal != (self.decimal_ or ".")

    def to_header(self) -> dict[str, Any]:
        """Return the part of the fitted encoder that can be saved as JSON."""
        check_is_fitted(self)
        return header_of(self._parts())

    def tensors(self) -> dict[str, Array]:
        """Return the arrays of the fitted encoder by name, for from_parts."""
        check_is_fitted(self)
        return tensors_of(self._parts())

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, Array]) -> Self:
        """Return the fitted encoder saved by to_header and tensors.

        Raises ValueError for anything that is missing or inconsistent.
        """
        parts = parts_from(header, tensors)
        encoder = cls(dtype=parts.dtype, sparse=parts.sparse, scaling=parts.scaling)
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
        """Return X as a table to fit to, without columns that cannot be features."""
        table = as_table(X, na=self.na, estimator=self, min_rows=1)
        if table.only_targets:
            table = without_targets(table, ())
        table = table if isinstance(X, Table) else settled(table)
        if not len(table):
            raise DataError(f"{table.source} has no rows; give at least one")
        return table

    def _read_again(self, X: Any) -> Table:
        """Return X as a table with the column names of fit."""
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
            features=None if self.features is None else names_given("features", self.features),
            drop=names_given("drop", self.drop),
            categorical=names_given("categorical", self.categorical),
            numeric=names_given("numeric", self.numeric),
            date=names_given("date", self.date),
            min_frequency=self.min_frequency,
            max_categories=self.max_categories,
            scaling=self.scaling,
        )
        self._check_output_options()
        types, encodings = fit_columns(table, options, whole)
        self._set(table.names, named, types, encodings, table.decimal)

    def _check_output_options(self) -> None:
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {self.dtype!r}; give 'float32' or 'float64'")
        if not (isinstance(self.sparse, bool) or self.sparse == "auto"):  # refuses 0 and 1
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
        """Return the checked columns of a table, and how its rows are stored."""
        widths = [len(encoding.outputs) for encoding in self.encodings_]
        return Layout.of(self._bind(table), widths, len(table), self.dtype, self.sparse)

    def _bind(self, table: Table) -> list[Bound]:
        """Return the used columns of a table, checked and ready to be encoded.

        Raises one DataError for all columns with cells that cannot be encoded.
        """
        names = [encoding.type.name for encoding in self.encodings_]
        table.require(names)
        for name in names:
            if name in table.doubled and f"{name}.1" not in self._names:
                raise DataError(
                    f"{table.source} has several columns {name!r}, but the model has one; "
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
                f"{'; '.join(problems[:5])}{more}; correct the cells, or give texts that mean "
                "'missing' as na (option --na)"
            )
        return bound
