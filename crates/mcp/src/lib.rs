//! The Model Context Protocol surface: runs, sessions and questions as tools and resources.
