#include "tests/policy/catalog_examples.h"

#include <fstream>

#include <catch2/catch_test_macros.hpp>

namespace tollgate::policy {
namespace {

std::vector<std::string> Lines(const std::string& name) {
  std::ifstream in(std::string(TOLLGATE_SOURCE_DIR) + "/tests/policy/data/" + name);
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && !line.starts_with("# ")) out.push_back(line);
  }
  REQUIRE_FALSE(out.empty());
  return out;
}

std::string_view Alphabet(char set) {
  switch (set) {
    case 'B': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    case 'L': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    case 'W': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    case 'S': return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    case 'h': return "0123456789abcdef";
    case 'u': return "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    case 'l': return "abcdefghijklmnopqrstuvwxyz0123456789";
    case 'T': return "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    case 'd': return "0123456789";
    case 'x': return "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    case 'q': return "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    case 'p': return "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789!=_.";
    default: FAIL("no such set: " << set);
  }
  return "";
}

}  // namespace

std::vector<Examples> IdentifierExamples() {
  std::vector<Examples> out;
  for (const char* area : {"world", "americas", "west", "north_east", "asia"}) {
    for (const std::string& line : Lines("identifiers_" + std::string(area) + ".txt")) {
      if (line.starts_with("  + "))
        out.back().positives.push_back(line.substr(4));
      else if (line.starts_with("  - "))
        out.back().negatives.push_back(line.substr(4));
      else
        out.push_back({line, {}, {}});
    }
  }
  return out;
}

std::vector<SecretTemplate> SecretTemplates() {
  std::vector<SecretTemplate> out;
  for (std::string line : Lines("secrets.txt")) {
    for (std::size_t at = 0; (at = line.find("\\n", at)) != std::string::npos;) line.replace(at, 2, "\n");
    if (line.starts_with("  - ")) {
      out.back().near_misses.push_back(line.substr(4));
      continue;
    }
    const std::size_t space = line.find(' ');
    out.push_back({line.substr(0, space), line.substr(space + 1), {}});
  }
  return out;
}

std::string MakeSecret(std::string_view pattern, std::mt19937_64& random, char body) {
  std::string out;
  const auto add = [&](char set, std::size_t count) {
    const std::string_view alphabet = Alphabet(set);
    std::uniform_int_distribution<std::size_t> any(0, alphabet.size() - 1);
    while (count-- > 0) out += body != 0 ? body : alphabet[any(random)];
  };
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '{') {
      out += pattern[at];
      continue;
    }
    const std::size_t close = pattern.find('}', at);
    const char set = pattern[at + 1];
    if (set == 'U') {
      for (const std::size_t count : {8u, 4u, 4u, 4u, 12u}) {
        add('h', count);
        if (count != 12) out += '-';
      }
    } else {
      add(set, std::stoul(std::string(pattern.substr(at + 2, close - at - 2))));
    }
    at = close;
  }
  return out;
}

std::string Plain(std::string_view marked) {
  const std::size_t open = marked.find('{'), close = marked.find('}');
  return Replaced(marked, marked.substr(open + 1, close - open - 1));
}

std::string Replaced(std::string_view marked, std::string_view by) {
  const std::size_t open = marked.find('{'), close = marked.find('}');
  return std::string(marked.substr(0, open)) + std::string(by) + std::string(marked.substr(close + 1));
}

}  // namespace tollgate::policy
