//! What the workspace's tests share; never a dependency of shipped code.
