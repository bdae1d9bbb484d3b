// Rows of tables, and lists: a word names the first value, its place the next ones.
#include "policy/columns.h"

#include <map>

#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::shared_ptr<const PolicySet> Finding(const std::string& kind) {
  static std::map<std::string, std::shared_ptr<const PolicySet>> policies;
  auto& its = policies[kind];
  if (its == nullptr) its = MustCompile(OneRule("{personal_data: " + kind + "}", "replace", "    replacement: '#'\n"));
  return its;
}

Cell CellOf(const std::string& before) { return CellAt(before, before.size()); }

}  // namespace

TEST_CASE("Every row of a table is found, not the first ones alone") {
  struct Row {
    const char *kind, *text, *out;
  };
  const Row rows[] = {
      {"us_ssn",
       "id,name,ssn\n1,Jane Doe,536228107\n2,John Smith,536228108\n3,Mary Major,536228109\n4,Max Power,536228110\n5,Ann Other,536228111",
       "id,name,ssn\n1,Jane Doe,#\n2,John Smith,#\n3,Mary Major,#\n4,Max Power,#\n5,Ann Other,#"},
      {"phone", "name,phone\nJane Doe,4155552671\nJohn Smith,4155552672\nMary Major,4155552673\nMax Power,4155552674\nAnn,4155552675",
       "name,phone\nJane Doe,#\nJohn Smith,#\nMary Major,#\nMax Power,#\nAnn,#"},
      {"nl_bsn", "name;bsn\r\nJan Jansen;111222333\r\nPiet Pietersen;123456782\r\nKees de Vries;100000009\r\nAnna Bakker;111222333",
       "name;bsn\r\nJan Jansen;#\r\nPiet Pietersen;#\r\nKees de Vries;#\r\nAnna Bakker;#"},
      {"gb_nhs_number",
       "| Name | NHS number |\n|---|---|\n| Jane Doe | 9434765919 |\n| John Smith | 4010232137 |\n| Mary Major | 9434765919 |",
       "| Name | NHS number |\n|---|---|\n| Jane Doe | # |\n| John Smith | # |\n| Mary Major | # |"},
      {"birth_date", "name\tdob\nJane\t1984-05-17\nJohn Smith\t1984-05-18\nMary Major\t1984-05-19\nMax Power\t1984-05-20\nAnn\t1984-05-21",
       "name\tdob\nJane\t#\nJohn Smith\t#\nMary Major\t#\nMax Power\t#\nAnn\t#"},
      {"us_ssn",
       "ssn,name,note\n536228107,\"Doe, Jane\",a long note on this person, and more\n536228108,\"Major, Mary\",x\n536228109,\"B\",y",
       "ssn,name,note\n#,\"Doe, Jane\",a long note on this person, and more\n#,\"Major, Mary\",x\n#,\"B\",y"},
      {"us_ssn", "name,ssn\n\"Doe, Jane\",\"536228107\"\n\"Major, Mary\",\"536228108\"\nPower,\"536228109\"\nOther,\"536228110\"",
       "name,ssn\n\"Doe, Jane\",\"#\"\n\"Major, Mary\",\"#\"\nPower,\"#\"\nOther,\"#\""},
      {"us_ssn", "name,ssn\nJane Doe of Springfield,536228107\nJohn Smith of Springfield,\nMary Major of Springfield,536228109\n",
       "name,ssn\nJane Doe of Springfield,#\nJohn Smith of Springfield,\nMary Major of Springfield,#\n"},
      {"us_ssn", "INSERT INTO p (name, ssn) VALUES\n('Jane Doe', '536228107'),\n('John Smith', '536228108'),\n('Mary Major', '536228109');",
       "INSERT INTO p (name, ssn) VALUES\n('Jane Doe', '#'),\n('John Smith', '#'),\n('Mary Major', '#');"},
      {"us_ssn", "SSNs of the four people who began in March are the following ones:\n- 536228107\n- 536228108\n- 536228109\n- 536228110",
       nullptr},
      {"us_ssn", "Their SSNs:\n- 536228107\n- 536228108\n- 536228109\n- 536228110\n- 536228111\n- 536228112",
       "Their SSNs:\n- #\n- #\n- #\n- #\n- #\n- #"},
      {"us_ssn", "SSNs 536228107, 536228108, 536228109, 536228110, 536228111, 536228112, 536228113 and 536228114.",
       "SSNs #, #, #, #, #, #, # and #."},
      {"us_ssn", R"("ssn": ["536228107", "536228108", "536228109", "536228110", "536228111", "536228112"])",
       R"("ssn": ["#", "#", "#", "#", "#", "#"])"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const auto policies = Finding(row.kind);
    const Filtered whole = MustFilter(*policies, row.text);
    CHECK(whole.text == (row.out == nullptr ? row.text : row.out));
    for (const std::size_t points : {1, 5, 40}) CheckStream(*policies, row.text, whole, [points = points] { return points; });
  }
}

TEST_CASE("Other columns, other tables and running text are not named by what stands above them") {
  struct Row {
    const char *kind, *text, *out;
  };
  const std::string far(64, '.');
  const Row rows[] = {
      // Another column.
      {"us_ssn", "name,ssn,order number\nJane Doe of Springfield Illinois,536228107,none\nJohn Smith of Springfield Illinois,,536228108\n",
       "name,ssn,order number\nJane Doe of Springfield Illinois,#,none\nJohn Smith of Springfield Illinois,,536228108\n"},
      // The table has ended.
      {"us_ssn", "name,ssn\nJane Doe of Springfield Illinois,536228107\n\nthe next table has the orders of all of them\nJane,536228108\n",
       "name,ssn\nJane Doe of Springfield Illinois,#\n\nthe next table has the orders of all of them\nJane,536228108\n"},
      // Lines of text.
      {"us_ssn", "Her SSN is 536228107 as we heard on the phone yesterday evening.\nHer order with us is 536228108 and it is late.",
       "Her SSN is # as we heard on the phone yesterday evening.\nHer order with us is 536228108 and it is late."},
      {"phone", "Phone: 4155552671\nOrders of the last week, as they came in by mail and on paper:\n4155552672 4155552673",
       "Phone: #\nOrders of the last week, as they came in by mail and on paper:\n4155552672 4155552673"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Filtered whole = MustFilter(*Finding(row.kind), row.text);
    CHECK(whole.text == row.out);
    CheckStream(*Finding(row.kind), row.text, whole, [] { return std::size_t{1}; });
  }
}

TEST_CASE("A row that is too long ends what is named") {
  const auto policies = Finding("us_ssn");
  for (const std::size_t bytes : {200, 254, 255, 256, 257, 600}) {
    const std::string gap = "," + std::string(bytes - 3, 'x') + "\n";
    const std::string text = "n,ssn\na,536228107" + gap + "," + "536228108";
    const Filtered whole = MustFilter(*policies, text);
    INFO(bytes);
    CHECK((whole.raw.size() == 2) == (bytes < kRowBytes));
    for (const std::size_t points : {1, 9, 100}) CheckStream(*policies, text, whole, [points = points] { return points; });
  }
}

TEST_CASE("Where in its line a value stands") {
  CHECK(CellOf("") == Cell{'\n', 0});
  CHECK(CellOf("a\n  ") == Cell{'\n', 0});
  CHECK(CellOf("a\n  - \"") == Cell{'-', 0});
  CHECK(CellOf("a,b\nc,d,") == Cell{',', 2});
  CHECK(CellOf("c;d; \"") == Cell{';', 2});
  CHECK(CellOf("\"c,d\",") == Cell{',', 1});
  CHECK(CellOf("| a | ") == Cell{'|', 2});
  CHECK(CellOf("a\t") == Cell{'\t', 1});
  CHECK(CellOf("it is ").column == -1);
  CHECK(CellOf("x (").column == -1);
  CHECK(CellOf(std::string(kRowBytes + 1, 'x') + ",").column == -1);
  CHECK(JoinsList(", "));
  CHECK(JoinsList(", and "));
  CHECK(JoinsList("\", \""));
  CHECK(JoinsList("\n"));
  CHECK_FALSE(JoinsList(","));
  CHECK_FALSE(JoinsList(";"));
  CHECK_FALSE(JoinsList(" is "));
  CHECK_FALSE(JoinsList(""));
}

TEST_CASE("Tables give the same in any pieces") {
  const std::uint64_t seed = TestSeed();
  INFO("TOLLGATE_SEED=" << seed);
  std::mt19937_64 random(seed);
  static constexpr const char* kPieces[] = {"ssn",
                                            "social security",
                                            ",",
                                            ",",
                                            ";",
                                            "\n",
                                            "\n",
                                            "\n",
                                            "\n\n",
                                            "\t",
                                            "| ",
                                            "\"",
                                            " ",
                                            "536228107",
                                            "536228108",
                                            "536228109",
                                            "111222333",
                                            "Jane Doe",
                                            "a longer name of somebody",
                                            "bsn",
                                            "4155552671",
                                            "phone",
                                            "1984-05-17",
                                            "dob",
                                            "- ",
                                            "['",
                                            "', '",
                                            "x",
                                            "\\n",
                                            "\u00e9",
                                            "\u2009",
                                            "\u0430",
                                            " and ",
                                            "ssn_number"};
  const auto policies = MustCompile(OneRule("{personal_data: [us_ssn, nl_bsn, phone, birth_date, passport_number]}", "redact"));
  for (int round = 0; round < 1500; ++round) {
    std::string text = round % 2 == 0 ? "id,name,ssn\n" : "";
    for (std::size_t n = 4 + random() % 40; n > 0; --n) text += kPieces[random() % std::size(kPieces)];
    const Filtered whole = MustFilter(*policies, text);
    CheckStream(*policies, text, whole, [] { return std::size_t{1}; });
    CheckStream(*policies, text, whole, [&] { return 1 + random() % 30; });
  }
}

}  // namespace tollgate::policy
