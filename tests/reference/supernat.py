"""SuperNat of baratin2021 with explicit matrices: Φ → ΦQ, w → Q⁻¹w, a new SVD at every step."""

import numpy as np


def train(features, targets, method, learning_rate, steps):
    """Return weights on the original features and path complexity after 0, 1, … ``steps`` steps."""
    n, p = features.shape
    top = np.linalg.norm(features, 2)
    w, changes = np.zeros(p), np.eye(p)
    weights, complexities = [changes @ w], [0.0]
    for _ in range(steps):
        if method != "gd":
            q = rescaling_matrix(features, features @ w, targets)
            if method == "supernat_constant_top":
                q = q * top / np.linalg.norm(features @ q, 2)
            features, w, changes = features @ q, np.linalg.solve(q, w), changes @ q
        step = -learning_rate * features.T @ (features @ w - targets) / n
        length = np.linalg.norm(step) * np.linalg.norm(features) / np.sqrt(n)
        w = w + step
        weights.append(changes @ w)
        complexities.append(complexities[-1] + length)
    return np.array(weights), np.array(complexities)


def rescaling_matrix(features, outputs, targets):
    """Return Q = Σ ν_j^(−1/2) v_j v_jᵀ, completed by the identity, with κ = max_k |u_kᵀ∇_f L|."""
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    u, vt = u[:, s > 1e-12 * s[0]], vt[s > 1e-12 * s[0]]
    sizes = np.abs(u.T @ (outputs - targets)) / len(targets)
    nu = np.max(sizes) / sizes
    return vt.T @ np.diag(nu**-0.5) @ vt + np.eye(features.shape[1]) - vt.T @ vt


def one_step_bound(metric, features, step):
    """Return ‖δw‖_A ‖Φ‖_{A⁻¹} for a positive definite A."""
    return np.sqrt(step @ metric @ step * np.trace(features @ np.linalg.inv(metric) @ features.T))
