#include "policy/catalog/checksums.h"

#include <catch2/catch_test_macros.hpp>

namespace tollgate::policy {

TEST_CASE("Check digits accept what the standards print and notice every changed digit") {
  struct Row {
    const char* name;
    bool (*passes)(std::string_view);
    const char* id;
  };
  const Row rows[] = {
      {"Luhn", PassesLuhn, "79927398713"},
      {"Luhn over an ISIN", PassesIsinLuhn, "US0378331005"},
      {"Luhn in base 36", PassesLuhn36, "27AAPFU0939F1ZV"},
      {"ISO 7064 Mod 11,10", PassesMod11_10, "33392005961"},
      {"ISO 7064 Mod 11-2", PassesMod11_2, "11010519491231002X"},
      {"Verhoeff", PassesVerhoeff, "234123412346"},
      {"ISO 7064 Mod 97-10", [](std::string_view id) { return Modulo(id, 97) == 1; }, "3214282912345698765432161182"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(row.passes(row.id));
    for (std::size_t i = 0; i < std::string_view(row.id).size(); ++i) {
      std::string other = row.id;
      if (other[i] < '0' || other[i] > '9') continue;
      for (char c = '0'; c <= '9'; ++c) {
        other[i] = c;
        CHECK(row.passes(other) == (c == row.id[i]));
      }
    }
  }
}

TEST_CASE("Weights, positions and dates") {
  CHECK(Weighted("123", {1, 10, 100}) == 321);
  CHECK(Weighted("12", {1, 1, 7}) == 3);
  CHECK(WeightedCrossSum("99", {2, 1}) == 18);
  CHECK(Value("A1Z", 0) == 10);
  CHECK(Value("A1Z", 2) == 35);
  CHECK(Number("20261125", 4, 2) == 11);
  CHECK(IsDate(2024, 2, 29));
  CHECK_FALSE(IsDate(2023, 2, 29));
  CHECK_FALSE(IsDate(2023, 13, 1));
  CHECK(IsShortDate(0, 2, 29));
  CHECK(IsCountry("DE"));
  CHECK_FALSE(IsCountry("XX"));
  CHECK(AllSame("111"));
  CHECK_FALSE(AllSame("112"));
}

}  // namespace tollgate::policy
