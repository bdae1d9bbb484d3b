// Runs the tests that ship with rules, on the compiled set.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>

#include "base/status.h"
#include "policy/policy_set.h"
#include "policy/rule.h"

namespace tollgate::policy {

// What the tests of all policies that are compiled together may take: their author chooses them, and others wait.
struct TestBounds {
  std::size_t tests = 5'000;
  std::size_t bytes = std::size_t{1} << 20;  // Of their texts.
  std::chrono::milliseconds time{5'000};
  std::function<absl::Status()> keep_going = nullptr;  // Asked between and within them; what it refuses with ends the work.
};

// The tests that fail, as INVALID_ARGUMENT, a line each with its place and what happened instead; or the bound that they are beyond.
absl::Status RunRuleTests(const PolicySet& policies, std::span<const Rule> rules, const TestBounds& bounds);

}  // namespace tollgate::policy
