// NearestWord: slips of the pen find their word, other words find none.
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/nearest_word.h"

using namespace tollgate::base;

TEST_CASE("A slip of the pen finds its word, another word finds none") {
  struct Row {
    std::string word, nearest;
  };
  const std::vector<std::string_view> known = {"slots", "port", "context_tokens", "queue_max", "queue_min"};
  const auto row = GENERATE(values<Row>({{"slot", "slots"},
                                         {"prot", "port"},
                                         {"contxt_tokens", "context_tokens"},
                                         {"port_number", "port"},
                                         {"queue_mux", "queue_max"},
                                         {"queue_mix", "queue_max"},
                                         {"listeners", ""},
                                         {"", ""},
                                         {std::string(10'000, 'p'), ""}}));
  INFO(row.word);
  CHECK(NearestWord(row.word, known) == row.nearest);
  CHECK(NearestWord(row.word, {}).empty());
}
