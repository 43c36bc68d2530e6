"""Documentation of the fitted attributes that both estimators have."""

from __future__ import annotations

ATTRIBUTES = """
    coefs_, intercepts_ : list of ndarray
        Weights (d_l, d_{l+1}) and biases (d_{l+1},), one array per layer. Predictions, warm_start
        and partial_fit use their current values, so they can be changed by hand. Set on an
        estimator without fit, they are enough to predict, with `activation` and the loss; a
        classifier also needs its sorted `classes_`, and for a multi-label y
        ``out_activation_ = 'logistic'``. Arrays of another type than float32 are computed in
        float64.
    input_stage_ : dict of ndarray
        With input_stage, its parameters: 'scale', one for each input of the first layer;
        'periodic' (n_columns, 83), whose rows are w, b (16), V (3, 16) and v (3); and 'tables'
        (n_levels, 8), with the levels of all tables and, if their number is odd, an unused one. Of
        an ensemble, all have the members as first axis. They are views, which can be changed by
        hand.
    loss_, best_loss_ : float
        Loss of the last epoch and lowest loss of all epochs, both with the penalty. `best_loss_`
        is None with early_stopping. As in scikit-learn, solver='lbfgs' sets only `loss_`, and
        none of the other losses and scores.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_, best_validation_score_ : list of float, float, or None
        Validation score of each epoch, by `scoring`, and the highest one; None without
        early_stopping.
    validation_loss_curve_ : list of float or None
        Weighted loss of the validation rows after each epoch, without the penalty; None without
        early_stopping. After warm_start it has one value for each epoch that had validation rows.
    best_epoch_ : int or None
        Epoch with the best validation score or, without early_stopping, the lowest loss; counted
        from 1.
    n_iter_, t_ : int
        Number of epochs of the last fit (iterations for solver='lbfgs'), and number of rows
        trained on in all epochs.
    n_features_in_, n_layers_, n_outputs_ : int
        Number of columns of X, of layers including input and output, and of outputs of the
        network. With several quantiles the network has one output per column of y and level.
    out_activation_ : str
        Activation of the output layer. Predictions use the `activation`, the loss and the
        parameters of the loss as they were in fit; changes take effect in the next fit.
    device_, precision_ : str
        Device of the last fit, and precision of its matrix products.
    engine_ : {'numpy', 'compiled', 'cuda'}
        Kind of code that computed the steps of the last fit.
    stopped_by_ : {'max_epochs', 'no_improvement', 'non_finite', 'interrupt', 'callback'}
        Why the last fit stopped. 'non_finite': the loss or a weight was no longer finite; fit
        then raises ValueError, unless early_stopping can restore the weights of an earlier epoch,
        in which case it warns. 'callback': a callback of `set_callbacks` asked to stop.
        solver='lbfgs' stops by 'max_epochs' after max_iter iterations; it has three more values:
        'convergence', 'max_fun', and 'line_search' if the line search found no lower loss.
    members_ : list of estimators
        The members of an ensemble, as fitted single networks with attributes of their own:
        `n_iter_`, `loss_curve_`, `best_validation_score_`, `stopped_by_`, `random_state` (the seed)
        and so on. In an ensemble, `coefs_` and `intercepts_` have the members as first axis,
        (n_members, d_l, d_{l+1}) and (n_members, d_{l+1}); those of `members_` are views of them.
        Losses and scores are means over the members, where a member that stopped counts with its
        last value; `n_iter_` is the largest number of epochs and `t_` the sum of all rows.
        `stopped_by_` is the first of these reasons that stopped a member: 'interrupt',
        'non_finite', 'callback', 'line_search', 'max_fun', 'max_epochs', 'no_improvement',
        'convergence'.
    oob_score_ : float
        Accuracy or R^2 of the out-of-bag predictions, with member_rows='bootstrap' or 'folds': for
        each training row the mean over the members that neither trained on it nor held it out.
        Weighted by sample_weight, not by class_weight. Rows that no member left out do not count;
        NaN if the others have no weight.
{oob}
"""

# By class: the attributes with predictions of rows that members left out.
OOB = {
    "MLPClassifier": """\
    oob_decision_function_ : ndarray (n_samples, n_classes)
        The out-of-bag probabilities of each class; NaN for a row that no member left out.""",
    "MLPRegressor": """\
    oob_prediction_ : ndarray (n_samples,) or (n_samples, n_targets)
        The out-of-bag predictions; NaN for a row that no member left out.""",
}
