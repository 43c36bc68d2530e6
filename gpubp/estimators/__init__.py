"""The contract of scikit-learn: MLPClassifier and MLPRegressor."""
