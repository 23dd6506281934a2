//! Weighs tool calls: canonical commands, rules, what needs consent, which grant covers it. Pure.
