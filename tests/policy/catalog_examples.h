// Examples of what the catalogue must find and must leave alone, from tests/policy/data. Files are small and read once.
//
// Identifiers: examples as they stand, `{…}` around what is to be found; their numbers are published specimens or were made with
// implementations of the check digits that are not ours. Secrets: templates, from which examples are made with a seed, so that no file
// holds anything that looks like a real one.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

struct Examples {
  std::string detector;
  std::vector<std::string> positives;  // With the braces.
  std::vector<std::string> negatives;
};
std::vector<Examples> IdentifierExamples();

struct SecretTemplate {
  std::string detector, pattern;
  std::vector<std::string> near_misses;  // Beside those that a test can make of the pattern.
};
std::vector<SecretTemplate> SecretTemplates();

// A secret of that form. `body` 0: random characters; otherwise all of that one.
std::string MakeSecret(std::string_view pattern, std::mt19937_64& random, char body = 0);

// Without the braces; with what they hold replaced.
std::string Plain(std::string_view marked);
std::string Replaced(std::string_view marked, std::string_view by);

}  // namespace tollgate::policy
