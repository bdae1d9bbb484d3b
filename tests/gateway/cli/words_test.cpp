// The words of the command line: what is read, what is refused with the forms, what is printed.
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/uuid.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/table.h"
#include "gateway/cli/user_name.h"
#include "gateway/cli/words.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Whoever runs the program has a name") { CHECK_FALSE(UserName().empty()); }

TEST_CASE("Durations are a number and a unit") {
  struct Row {
    const char* text;
    std::int64_t seconds;
  };
  const auto row = GENERATE(values<Row>({{"45s", 45},
                                         {"90m", 5400},
                                         {"24h", 86400},
                                         {"7d", 604800},
                                         {"", -1},
                                         {"7", -1},
                                         {"d", -1},
                                         {"0s", -1},
                                         {"-1h", -1},
                                         {"1.5h", -1},
                                         {"1 h", -1},
                                         {"1w", -1},
                                         {"99999999999999999999s", -1},
                                         {"100000001d", -1}}));
  INFO(row.text);
  const auto seconds = ParseDuration(row.text);
  CHECK(seconds.ok() == (row.seconds >= 0));
  if (seconds.ok()) CHECK(*seconds == row.seconds);
}

TEST_CASE("Times are a day, an instant, or how long ago") {
  const base::WallTime now = base::FromMicros(1'790'000'000'000'000);
  struct Row {
    const char* text;
    std::int64_t us;
  };
  const auto row = GENERATE(values<Row>({{"1970-01-02", 86'400'000'000},
                                         {"2026-11-01", 1'793'491'200'000'000},
                                         {"2026-11-01T08:30:00Z", 1'793'521'800'000'000},
                                         {"2026-11-01 08:30:00Z", 1'793'521'800'000'000},
                                         {"1h", 1'789'996'400'000'000},
                                         {"2026-02-29", -1},
                                         {"2026-13-01", -1},
                                         {"2026-11-01T08:30:00", -1},
                                         {"2026-11-01T24:00:00Z", -1},
                                         {"2026/11/01", -1},
                                         {"yesterday", -1},
                                         {"", -1}}));
  INFO(row.text);
  const auto at = ParseTime(row.text, now);
  CHECK(at.ok() == (row.us >= 0));
  if (at.ok()) CHECK(*at == row.us);
}

TEST_CASE("Places, limits and positions are read, or refused with their form") {
  CHECK(ParsePlace("search", false)->team == "search");
  CHECK(ParsePlace("search/web", true)->project == "web");
  for (const char* bad : {"", "/", "a/", "/b", "a/b/c"}) CHECK_FALSE(ParsePlace(bad, false).ok());
  CHECK_THAT(base::Message(ParsePlace("search", true).status()), ContainsSubstring("write TEAM/PROJECT"));
  CHECK(ParseLimit("tokens/month")->window == v1::QUOTA_WINDOW_MONTH);
  CHECK(ParseLimit("concurrent")->meter == v1::QUOTA_METER_CONCURRENT);
  for (const char* bad : {"", "tokens", "tokens/", "tokens/year", "concurrent/minute", "words/minute", "concurrent/"})
    CHECK_FALSE(ParseLimit(bad).ok());
  for (const char* good : {"requests/minute", "tokens/hour", "tokens/day", "concurrent"}) {
    const auto limit = ParseLimit(good);
    REQUIRE(limit.ok());
    CHECK(ShowLimit(limit->meter, limit->window) == good);
  }
  CHECK(ParsePosition("1/42")->second == 42);
  for (const char* bad : {"", "1", "1/", "/2", "-1/2", "1/-2", "99999/1", "a/b"}) CHECK_FALSE(ParsePosition(bad).ok());
}

TEST_CASE("Counts and times are printed for people") {
  CHECK(ShowCount(0) == "0");
  CHECK(ShowCount(999) == "999");
  CHECK(ShowCount(1000) == "1,000");
  CHECK(ShowCount(-1234567) == "-1,234,567");
  CHECK(ShowTime(0) == "-");
  CHECK(ShowTime(1'793'521'800'123'456) == "2026-11-01 08:30:00");
}

TEST_CASE("A scope is named as the options that name it") {
  v1::ScopeRef scope;
  scope.set_org("acme");
  CHECK(ShowScopeOptions(scope) == "");
  scope.set_team("search");
  CHECK(ShowScopeOptions(scope) == " --team search");
  scope.set_project("web");
  CHECK(ShowScopeOptions(scope) == " --project search/web");
  scope.set_key("3kQ9xZ0b");
  CHECK(ShowScopeOptions(scope) == " --key-id 3kQ9xZ0b");
}

TEST_CASE("What policy did names each rule with what it did, the strictest first") {
  v1::PolicyOutcome outcome;
  CHECK(PolicyWords(outcome) == "allow");
  outcome.set_action("flag");
  outcome.add_rule_ids("seen");
  CHECK(PolicyWords(outcome) == "flag by seen");
  outcome.set_action("block");
  for (const auto& [id, action] : {std::pair("stop", "block"), std::pair("blue", "redact")}) {
    outcome.add_rule_ids(id);
    auto& rule = *outcome.add_rules();
    rule.set_id(id);
    rule.set_action(action);
  }
  CHECK(PolicyWords(outcome) == "block by stop; redact by blue; noted by seen");
}

TEST_CASE("Tables align words to the left and numbers to the right, and tame what would move the cursor") {
  Table table({"team", "> tokens"});
  CHECK(table.Text("nothing") == "nothing\n");
  table.Add({"search", "1,000"});
  table.Add({"é\x1b[2J", ""});
  CHECK(table.Text("") == "TEAM    TOKENS\nsearch   1,000\né?[2J        -\n");
}

TEST_CASE("Text from outside is printed without what moves the cursor, ends a line or turns the text around") {
  CHECK(Tamed("a\x1b[2Jb\x7f\tc\n") == "a?[2Jb??c?");
  CHECK(Tamed("a\x1b[2Jb\x7f\tc\n", "\t\n") == "a?[2Jb?\tc\n");
  CHECK(Tamed("\u0080|\u0085|\u009b2J|\u009f|\u00a0é") == "?|?|?2J|?|\u00a0é");
  CHECK(Tamed("\u2027|\u2028|\u2029|\u202a|\u202b|\u202c|\u202d|\u202e|\u202f") == "\u2027|?|?|?|?|?|?|?|\u202f");
  CHECK(Tamed("a\u200bb\u200c|\u2060|\U000E0041\U000E01EF|\U000E01F0") == "a?b\u200c|?|??|\U000E01F0");
  CHECK(Tamed("\u205f|\u2066|\u2067|\u2068|\u2069|\u206a") == "\u205f|?|?|?|?|\u206a");
  CHECK(Tamed("日本 🙂 \xff|\x9b|\xe2\x80") == "日本 🙂 ?|?|??");  // What is no UTF-8 a terminal may read in its own way.
  CHECK(Indented("one\u2028two\n\u202ethree\u009b2J", "  | ") == "  | one?two\n  | ?three?2J\n");
  Table table({"name"});
  table.Add({"\u202eno\u2069\u009b2J"});
  CHECK(table.Text("") == "NAME\n?no??2J\n");
}

TEST_CASE("Every kind of record has its words") {
  for (const std::string& word : KindWords()) CHECK(KindWord(*KindOf(word)) == word);
  CHECK(KindOf("FINAL") == v1::RECORD_KIND_FINAL);
  CHECK_FALSE(KindOf("finale"));
  v1::Record record;
  record.set_kind(v1::RECORD_KIND_FINAL);
  record.mutable_end()->set_reason("QUOTA");
  record.mutable_end()->mutable_tokens()->set_input(10);
  record.mutable_end()->mutable_tokens()->set_output(90);
  record.mutable_end()->mutable_output_verdict()->set_action("redact");
  auto& rule = *record.mutable_end()->mutable_output_verdict()->add_rules();
  rule.set_rule_id("pii.card");
  rule.set_count(2);
  rule.set_action("redact");
  record.mutable_end()->set_amount_nanos(37'000'000);
  record.mutable_end()->mutable_price()->set_currency("EUR");
  CHECK(Summary(record) == "QUOTA, 10 in, 90 out, redact by pii.card x2, 0.037 EUR");
  CHECK_THAT(Details(record), ContainsSubstring("    tokens: 10 in, 90 out, 0 delivered\n"));
  CHECK_THAT(Details(record), !ContainsSubstring("server's own count"));
  record.mutable_end()->mutable_output_verdict()->set_action("block");
  for (const auto& [id, action] : {std::pair("codename", "block"), std::pair("may-read", "allow"), std::pair("pii.email", "redact")}) {
    auto& other = *record.mutable_end()->mutable_output_verdict()->add_rules();
    other.set_rule_id(id);
    other.set_count(1);
    other.set_action(action);
  }
  CHECK_THAT(Summary(record), ContainsSubstring("block by codename; redact by pii.card x2, pii.email; allow by may-read, 0.037"));
  record.mutable_admin()->set_action("key.revoke");
  record.mutable_admin()->set_actor("3kQ9xZ0b");
  record.mutable_admin()->set_summary("leaked");
  CHECK(Summary(record) == "key.revoke by 3kQ9xZ0b: leaked");
}

TEST_CASE("What a server counted stands beside our own count, whatever it said") {
  v1::Record record;
  v1::ServerUsage& usage = *record.mutable_end()->mutable_server_usage();
  CHECK_THAT(Details(record), ContainsSubstring("    the server's own count: none; ours is billed\n"));
  usage.set_answers(1), usage.set_silent(1);
  CHECK_THAT(Details(record), ContainsSubstring("own count: none, 1 of 1 whole answers had no count; ours is billed\n"));
  usage.set_silent(0);
  usage.set_input_reported(12), usage.set_input_sent(12), usage.set_output_reported(6), usage.set_output_came(6);
  CHECK_THAT(Details(record), ContainsSubstring("own count: 12 in where 12 were sent, 6 out where 6 came; ours is billed\n"));
  usage.set_output_reported(1006), usage.set_differs(true);
  CHECK_THAT(Details(record),
             ContainsSubstring("own count: 12 in where 12 were sent, 1,006 out where 6 came; it differs, and ours is billed\n"));
  v1::GuardUsage& guard = *record.mutable_end()->add_guard_usage();
  CHECK_THAT(Details(record), !ContainsSubstring("its server's own count"));
  guard.mutable_server_usage()->set_input_reported(3);
  CHECK_THAT(Details(record), ContainsSubstring("      its server's own count: 3 in where 0 were sent; ours is billed\n"));
}

TEST_CASE("That a request was gone on with by another is told of both, and of records before that was possible nothing") {
  const base::Uuid id = *base::Uuid::Parse("01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
  v1::Record record;
  record.mutable_request()->set_model("smollm2");
  CHECK_THAT(Details(record), !ContainsSubstring("goes on"));
  record.mutable_request()->set_continues(id.Bytes());
  record.mutable_request()->set_continues_model("qwen3");
  const std::string before = "    goes on for request 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e, which model qwen3 could not take\n";
  CHECK_THAT(Details(record), ContainsSubstring(before));
  record.mutable_deny()->set_continues(id.Bytes());
  record.mutable_deny()->set_continues_model("qwen3");
  CHECK_THAT(Details(record), ContainsSubstring(before));
  record.mutable_deny()->set_model_requested("chat");
  CHECK_THAT(Details(record), ContainsSubstring("    chat, "));
  record.mutable_deny()->set_model("smollm2");
  CHECK_THAT(Details(record), ContainsSubstring("    smollm2 (asked as chat), "));
  record.mutable_deny()->set_routed_by("long");
  CHECK_THAT(Details(record), ContainsSubstring("    smollm2 (asked as chat, sent to this model by rule long), "));
  record.mutable_end()->set_reason("ENGINE_FAILED");
  CHECK_THAT(Details(record), !ContainsSubstring("gone on"));
  record.mutable_end()->set_continued_as(id.Bytes());
  CHECK_THAT(Details(record),
             ContainsSubstring("    gone on with, by a fallback of its alias, as request 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e\n"));
}

TEST_CASE("How a request stood in the queue is told where something is set, the ordinary band and weight beside it") {
  v1::Record record;
  record.mutable_request()->set_model("smollm2");
  CHECK_THAT(Details(record), !ContainsSubstring("queue"));
  record.mutable_request()->set_weight_millionths(250'000);
  CHECK_THAT(Details(record), ContainsSubstring("    queue: band 1, weight 0.25\n"));
  record.mutable_request()->set_band(0);
  record.mutable_request()->set_weight_millionths(0);
  CHECK_THAT(Details(record), ContainsSubstring("    queue: band 0, weight 1\n"));
}

TEST_CASE("What was accepted and who approved is told of requests and denials") {
  const base::Uuid id = *base::Uuid::Parse("01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
  v1::Record record;
  record.mutable_request()->set_terms_accepted("acceptable-use@3,privacy@1");
  record.mutable_request()->add_approvals(id.Bytes());
  CHECK_THAT(Details(record), ContainsSubstring("    the end user accepted acceptable-use@3,privacy@1\n"));
  CHECK_THAT(Details(record), ContainsSubstring("    under approval 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e\n"));
  record.mutable_deny()->set_reason("APPROVAL_NEEDED");
  record.mutable_deny()->add_approvals(id.Bytes());
  record.mutable_deny()->set_terms_accepted("privacy@1");
  CHECK_THAT(Details(record),
             ContainsSubstring("    the end user accepted privacy@1\n    waits for approval 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e\n"));
  record.mutable_end()->set_reason("POLICY_BLOCKED");
  record.mutable_end()->mutable_input_verdict()->set_action("block");
  CHECK_THAT(Details(record), ContainsSubstring("    prompt, with what detectors answered: block\n"));
}

TEST_CASE("How grave a rule is and what it measured stands beside what it did; of records from before there was this nothing") {
  v1::Record record;
  v1::Verdict& verdict = *record.mutable_request()->mutable_input_verdict();
  verdict.set_action("redact");
  const auto add = [&](const char* id, const char* action, const char* severity, const char* unit, std::int64_t value, std::int64_t least) {
    v1::RuleOutcome& rule = *verdict.add_rules();
    rule.set_rule_id(id);
    rule.set_action(action);
    rule.set_count(1);
    rule.set_severity(severity);
    if (*unit == '\0') return;
    rule.mutable_score()->set_unit(unit);
    rule.mutable_score()->set_value_thousandths(value);
    rule.mutable_score()->set_least_thousandths(least);
  };
  add("keys", "redact", "critical", "bits a character", 3684, 2500);
  add("long", "flag", "info", "characters", 25'000'000, 20'001'000);
  add("mail", "flag", "low", "", 0, 0);
  add("old", "flag", "", "", 0, 0);
  verdict.mutable_rules(0)->set_count(2);
  v1::Span& span = *verdict.mutable_rules(0)->add_spans();
  span.set_end(20);
  CHECK_THAT(
      Details(record),
      ContainsSubstring("      rule keys (critical): redact, 2 times, 3.7 bits a character (2.5 count), in message 0, bytes 0 to 20; "
                        "and 1 more\n"
                        "      rule long (info): flag, 25,000 characters (20,001 count)\n"
                        "      rule mail (low): flag\n"
                        "      rule old: flag\n"));
  v1::GuardOutcome& guard = *record.mutable_end()->add_guards();
  guard.set_detector("external");
  guard.set_name("mood");
  guard.set_rule_id("rude");
  guard.set_asked(1);
  guard.set_score_millionths(700'000);
  CHECK_THAT(Details(record), ContainsSubstring("    external mood on the prompt (rule rude): no hit, score 0.70\n"));
  guard.set_least_score_millionths(800'000);
  CHECK_THAT(Details(record), ContainsSubstring("    external mood on the prompt (rule rude): no hit, score 0.70 (0.80 counts)\n"));
}

TEST_CASE("What each rule did is told with where it found it, which is no content") {
  v1::Verdict verdict;
  verdict.set_action("block");
  auto& mail = *verdict.add_rules();
  mail.set_rule_id("pii.email");
  mail.set_action("redact");
  mail.set_count(5);
  struct At {
    std::uint32_t message;
    std::int64_t begin, end;
    const char* field;
  };
  for (const At& at : {At{0, 10, 29, "text"}, At{0, 40, 59, "text"}, At{1, 3, 8, "reasoning"}}) {
    auto& span = *mail.add_spans();
    span.set_message(at.message);
    span.set_begin(at.begin);
    span.set_end(at.end);
    span.set_field(at.field);
  }
  auto& whole = *verdict.add_rules();
  whole.set_rule_id("long");
  whole.set_action("flag");
  whole.set_count(1);
  whole.set_effect("justification");
  const std::string rest = "      rule long: flag and justification\n";
  v1::Record record;
  *record.mutable_request()->mutable_input_verdict() = verdict;
  record.mutable_request()->mutable_shadow()->set_policy_digest("xy");
  *record.mutable_request()->mutable_shadow()->mutable_verdict() = verdict;
  const std::string prompt =
      "      rule pii.email: redact, 5 times, in message 0, bytes 10 to 29, 40 to 59; in message 1's reasoning, bytes 3 to 8; and 2 "
      "more\n" +
      rest;
  CHECK_THAT(Details(record), ContainsSubstring("x5; flag by long\n" + prompt) || ContainsSubstring("noted by long\n" + prompt));
  CHECK_THAT(Details(record), ContainsSubstring("    the shadow 7879 says: ") && ContainsSubstring(prompt + "    reserved"));
  *record.mutable_deny()->mutable_input_verdict() = verdict;
  CHECK_THAT(Details(record), ContainsSubstring(prompt));
  *record.mutable_end()->mutable_output_verdict() = verdict;
  record.mutable_end()->set_reason("CONTENT_FILTER");
  for (const char* reason : {"CONTENT_FILTER", "STOP"}) {
    auto& choice = *record.mutable_end()->add_choices();
    choice.set_reason(reason);
    choice.set_output_tokens(4);
    choice.set_delivered_bytes(30);
    choice.set_delivered_bytes_at_block(20);
  }
  CHECK_THAT(Details(record),
             ContainsSubstring("in reply 0, bytes 10 to 29, 40 to 59; in reply 1's reasoning, bytes 3 to 8; and 2 more\n" + rest));
  CHECK_THAT(Details(record),
             ContainsSubstring("    reply 0: CONTENT_FILTER, 4 tokens, 30 bytes delivered, of these out when it was blocked: 20\n"
                               "    reply 1: STOP, 4 tokens, 30 bytes delivered\n"));
}
