#include <algorithm>
#include <iterator>
#include <random>
#include <set>
#include <tuple>

#include "policy/keyword_scan.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

// "begin-end:source …"
std::string Scan(std::vector<Keyword> keywords, const std::string& text, std::size_t sources = 4) {
  const auto index = KeywordIndex::Build(std::move(keywords));
  REQUIRE(index.ok());
  const std::vector<char> active(sources, 1);
  KeywordScan scan(*index, active);
  std::vector<Hit> hits;
  scan.Read({text, 0}, 0);
  scan.Take({text, 0}, INT64_MAX, true, hits);
  std::string out;
  for (const Hit& hit : hits)
    out += (out.empty() ? "" : " ") + std::to_string(hit.begin) + "-" + std::to_string(hit.end) + ":" + std::to_string(hit.source);
  return out;
}

}  // namespace

TEST_CASE("Keywords are whole words in any case unless the list says otherwise") {
  CHECK(Scan({{"falcon", 0}}, "Falcon, FALCON; falconry gyrfalcon _falcon falcon") == "0-6:0 8-14:0 36-42:0 43-49:0");
  CHECK(Scan({{"falcon", 0}}, "_falcon_ my_falcon falcon_2 falcon2 2falcon") == "1-7:0 12-18:0 19-25:0");
  CHECK(Scan({{"_id", 0}}, "user_id _id") == "8-11:0");
  CHECK(Scan({{"falcon", 0, false, true}}, "falconry gyrFalcon") == "0-6:0 12-18:0");
  CHECK(Scan({{"Falcon", 0, true, false}}, "falcon Falcon") == "7-13:0");
  CHECK(Scan({{"c++", 0}}, "c++ c++11 xc++ (C++)") == "0-3:0 16-19:0");
  CHECK(Scan({{"\u00e9toile", 0}}, "\u00c9TOILE \u00e9toil\u00e9") == "0-7:0");
  CHECK(Scan({{"\u65e5\u672c", 0}}, "\u79c1\u306f\u65e5\u672c\u306b") == "6-12:0");
  CHECK(Scan({{"falcon", 0}}, "\u201cfalcon\u201d caf\u00e9falcon falcon\u00e9") == "3-9:0");
}

TEST_CASE("Occurrences overlap, but one inside another of the same list is not counted again") {
  CHECK(Scan({{"new york", 0}, {"york times", 0}}, "new york times") == "0-8:0 4-14:0");
  CHECK(Scan({{"new york", 0}, {"new york times", 0}, {"york", 0}}, "new york times") == "0-14:0");
  CHECK(Scan({{"new york times", 0}, {"york", 1}}, "new york times") == "0-14:0 4-8:1");
  CHECK(Scan({{"card", 0}, {"card", 1}}, "card").size() == 11);
}

TEST_CASE("Equal keywords of one list are one, and others stay apart") {
  std::vector<Keyword> many(100'000, Keyword{"falcon", 0});
  many.push_back({"falcon", 1});
  many.push_back({"Falcon", 0, true, false});
  many.push_back({"new\n york", 0});
  many.push_back({"new york", 0});
  const auto index = KeywordIndex::Build(many);
  REQUIRE(index.ok());
  CHECK(index->bytes() < 4096);  // Of a hundred thousand it were some megabytes.
  CHECK(Scan(many, "Falcon new york").size() == std::string("0-6:0 0-6:1 7-15:0").size());
}

TEST_CASE("A long text is taken in pieces, and nothing is lost, or found twice, where one ends") {
  constexpr std::size_t kPiece = 64 << 10;
  const auto index = KeywordIndex::Build({{"new york times", 0}, {"york", 0}, {"times square", 1}, {"\u00e9t\u00e9", 2, false, true}});
  REQUIRE(index.ok());
  const std::vector<char> active(3, 1);
  for (std::size_t at = kPiece - 40; at <= kPiece + 4; ++at) {
    const std::string text = std::string(at, '.') + "\u00e9t\u00e9new  york\n\ntimes   square yorkshire" + std::string(100, '.');
    std::vector<Hit> pieces, whole;
    KeywordScan(*index, active).FindAll(text, pieces);
    KeywordScan scan(*index, active);
    scan.Read({text, 0}, 0);
    scan.Take({text, 0}, INT64_MAX, true, whole);
    REQUIRE(whole.size() == 3);
    const auto key = [](const Hit& hit) { return std::tuple(hit.begin, hit.end, hit.source); };
    std::sort(pieces.begin(), pieces.end(), [&](const Hit& a, const Hit& b) { return key(a) < key(b); });
    std::sort(whole.begin(), whole.end(), [&](const Hit& a, const Hit& b) { return key(a) < key(b); });
    CHECK(
        std::equal(pieces.begin(), pieces.end(), whole.begin(), whole.end(), [&](const Hit& a, const Hit& b) { return key(a) == key(b); }));
  }
}

TEST_CASE("White space between the words of a keyword is any white space, up to eight characters of it") {
  const std::vector<Keyword> falcon = {{"project falcon", 0}};
  CHECK(Scan(falcon, "Project  Falcon, project\n\tfalcon, project\r\nfalcon") == "0-15:0 17-32:0 34-49:0");
  CHECK(Scan(falcon, "project" + std::string(8, ' ') + "falcon") == "0-21:0");
  CHECK(Scan(falcon, "project" + std::string(9, ' ') + "falcon").empty());
  CHECK(Scan(falcon, "projectfalcon project - falcon project\u00b7falcon").empty());
  CHECK(Scan(falcon, "project\ffalcon project\v falcon") == "0-14:0 15-30:0");
  CHECK(Scan({{"new \t\n york", 0}}, "new york  new   york") == "0-8:0 10-20:0");
  CHECK(Scan({{"New York", 0, true, false}}, "New\nYork new\nyork New\nyork") == "0-8:0");
  CHECK(Scan({{"a b c", 0}, {"b c d", 1}, {"c", 2}}, "a  b\n\nc d") == "0-7:0 3-9:1 6-7:2");
  CHECK(Scan({{"project falcon", 0}, {"falcon", 1}}, "project" + std::string(20, '\n') + "falcon") == "27-33:1");
  // A blank at a keyword's edge is one.
  CHECK(Scan({{" of ", 0, false, true}}, "one   of   them") == "5-9:0");
}

TEST_CASE("In a stream a run of white space is held as long as a keyword may go on behind it") {
  const auto index = KeywordIndex::Build({{"project falcon", 0}, {" hawk", 0, false, true}});
  REQUIRE(index.ok());
  const std::vector<char> active(1, 1);
  const auto live = [&](const std::string& text) {
    KeywordScan scan(*index, active);
    scan.Read({text, 0}, 0);
    return static_cast<std::int64_t>(text.size()) - scan.LiveStart({text, 0});
  };
  CHECK(live("a project") == 7);
  CHECK(live("a project" + std::string(8, '\n')) == 15);
  CHECK(live("a project" + std::string(8, '\n') + "fal") == 18);
  CHECK(live("a project" + std::string(9, '\n')) == 1);
  CHECK(live("a project" + std::string(900, ' ') + "fal") <= 4);
  CHECK(live("any" + std::string(5, ' ')) == 1);
  CHECK(KeywordIndex::HoldMax("project falcon") == 21);
}

TEST_CASE("A hundred thousand words are found as a search word by word finds them") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  const auto word = [&] {
    std::string out;
    for (std::size_t n = 3 + random() % 6; n > 0; --n) out += static_cast<char>('a' + random() % 26);
    return out;
  };
  std::set<std::string> known;
  while (known.size() < 100'000) known.insert(word());
  std::vector<Keyword> words;
  for (const std::string& its : known) words.push_back({its, 0});
  const auto index = KeywordIndex::Build(std::move(words));
  REQUIRE(index.ok());
  const std::vector<char> active(1, 1);
  for (int round = 0; round < 20; ++round) {
    std::string text;
    std::vector<std::pair<std::int64_t, std::int64_t>> expected;
    for (int i = 0; i < 300; ++i) {
      auto its = word();
      if (random() % 3 == 0) its = *std::next(known.begin(), static_cast<std::ptrdiff_t>(random() % 1000));
      if (random() % 8 == 0) its[0] = static_cast<char>(its[0] - 32);
      std::string folded = its;
      folded[0] = static_cast<char>(folded[0] | 32);
      const auto begin = static_cast<std::int64_t>(text.size());
      if (known.contains(folded)) expected.emplace_back(begin, begin + static_cast<std::int64_t>(its.size()));
      text += its + (random() % 10 == 0 ? ", " : " ");
    }
    KeywordScan scan(*index, active);
    std::vector<Hit> hits;
    scan.Read({text, 0}, 0);
    scan.Take({text, 0}, INT64_MAX, true, hits);
    std::vector<std::pair<std::int64_t, std::int64_t>> found;
    for (const Hit& hit : hits) found.emplace_back(hit.begin, hit.end);
    std::sort(found.begin(), found.end());
    CHECK(found == expected);
  }
}

TEST_CASE("In a stream an occurrence waits for its right edge, and the live start says so") {
  const auto index = KeywordIndex::Build({{"falcon", 0}});
  REQUIRE(index.ok());
  const std::vector<char> active(1, 1);
  KeywordScan scan(*index, active);
  std::string text = "a falcon";
  std::vector<Hit> hits;
  scan.Read({text, 0}, 0);
  CHECK(scan.LiveStart({text, 0}) == 2);
  scan.Take({text, 0}, scan.LiveStart({text, 0}), false, hits);
  CHECK(hits.empty());
  text += ".";
  scan.Read({text, 0}, 8);
  CHECK(scan.LiveStart({text, 0}) == 9);
  scan.Take({text, 0}, 9, false, hits);
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].begin == 2);
}

TEST_CASE("Lists that do not act give nothing") {
  const auto index = KeywordIndex::Build({{"falcon", 0}, {"falcon", 1}});
  REQUIRE(index.ok());
  const std::vector<char> active = {0, 1};
  KeywordScan scan(*index, active);
  std::vector<Hit> hits;
  scan.Read({"falcon", 0}, 0);
  scan.Take({"falcon", 0}, INT64_MAX, true, hits);
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].source == 1);
}

}  // namespace tollgate::policy
