#include "gateway/http/header_text.h"

#include <catch2/catch_test_macros.hpp>

using namespace tollgate::http_front;
using namespace std::chrono_literals;

TEST_CASE("Words in a header are read in each way that clients have of sending them") {
  struct Row {
    const char* sent;
    const char* words;
  };
  for (const Row& row : {Row{"need it", "need it"}, Row{"Prüfung", "Prüfung"},
                         Row{"Pr\xfc"
                             "fung",
                             "Prüfung"},
                         Row{"UTF-8''Pr%C3%BCfung", "Prüfung"}, Row{"utf-8'de'Pr%c3%bcfung%20des Vertrags", "Prüfung des Vertrags"},
                         Row{"UTF-8''100%", "100%"}, Row{"UTF-8''%zz%4", "%zz%4"}, Row{"UTF-8 'is' a charset", "UTF-8 'is' a charset"},
                         Row{"utf-8'", "utf-8'"}, Row{"100%41", "100%41"}, Row{"", ""}, Row{"\xff", "ÿ"}}) {
    INFO(row.sent);
    CHECK(HeaderWords(row.sent) == row.words);
  }
}

TEST_CASE("A time in a header is a number above zero, and a day at most") {
  CHECK(HeaderTime("600", 1s) == 600s);
  CHECK(HeaderTime("90.5", 1s) == 90'500ms);
  CHECK(HeaderTime("1500", 1ms) == 1500ms);
  CHECK(HeaderTime("1e3", 1ms) == 1s);
  CHECK(HeaderTime("0.0001", 1s) == 1ms);
  CHECK(HeaderTime("1000000000", 1s) == 24h);
  for (const char* none : {"", "0", "-1", "inf", "nan", "NOT_GIVEN", "10s", "10 ", " 10", "1e999", "0x10"}) {
    INFO(none);
    CHECK_FALSE(HeaderTime(none, 1s).has_value());
  }
}
