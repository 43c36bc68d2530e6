"""
Pipeline and GridSearchCV
=========================

``MLPClassifier`` is a scikit-learn estimator: it works in pipelines, searches and cross-validation.
Only the import differs from a script for scikit-learn's own network.
"""

# %%
# The scaler is part of the pipeline, so each fold is scaled with its own training rows.
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
network = MLPClassifier(max_iter=300, random_state=0)
pipeline = make_pipeline(StandardScaler(), network)

# %%
# The grid can contain parameters that only gpubp has, such as ``dropout``.
grid = {
    "mlpclassifier__hidden_layer_sizes": [(32,), (64, 32)],
    "mlpclassifier__dropout": [0.0, 0.3],
    "mlpclassifier__learning_rate_init": [0.003, 0.01],
}
search = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
for name, value in search.best_params_.items():
    print(f"{name.removeprefix('mlpclassifier__')}: {value}")
print(f"accuracy in cross-validation: {search.best_score_:.3f}")
print(f"accuracy on the test rows:    {search.score(X_test, y_test):.3f}")
