"""The small data sets that come with scikit-learn."""

DATASETS = ("digits", "breast_cancer", "wine", "iris", "diabetes")
