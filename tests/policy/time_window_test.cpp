// Days and hours by a zone's own clocks, and what rules with them do.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "policy/time_window.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::int64_t At(const std::string& text) {
  const auto out = ParseMoment(text);
  REQUIRE(out.ok());
  return *out;
}

TimeWindow Window(std::uint8_t days, const std::string& hours, const std::string& zone) {
  TimeWindow out;
  out.days = days;
  if (!hours.empty()) out.hours = {ParseHours(hours).value()};
  out.zone = ParseZone(zone).value();
  return out;
}

constexpr std::uint8_t kWorkdays = 0x1F, kAll = 0x7F, kFriday = 1 << 4;

}  // namespace

TEST_CASE("A window holds its days and hours in its own zone, over midnight and over summer time") {
  struct Row {
    TimeWindow window;
    const char* at;
    bool holds;
  };
  const Row rows[] = {
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-11-27T08:00:00+01:00", true},
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-11-27T07:59:59+01:00", false},
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-11-27T18:00:00+01:00", false},
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-11-28T12:00:00+01:00", false},  // A Saturday.
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-07-03T06:30:00Z", true},        // Summer: 08:30 there.
      {Window(kWorkdays, "08:00-18:00", "Europe/Berlin"), "2026-11-27T06:30:00Z", false},       // Winter: 07:30 there.
      {Window(kFriday, "22:00-06:00", "UTC"), "2026-11-27T23:00:00Z", true},
      {Window(kFriday, "22:00-06:00", "UTC"), "2026-11-28T05:59:00Z", true},   // It began on Friday.
      {Window(kFriday, "22:00-06:00", "UTC"), "2026-11-27T05:00:00Z", false},  // It would have begun on Thursday.
      {Window(kFriday, "22:00-06:00", "UTC"), "2026-11-28T22:00:00Z", false},
      {Window(kFriday, "", "Pacific/Auckland"), "2026-11-26T11:00:00Z", true},  // Midnight there.
      {Window(kAll, "18:00-24:00", "UTC"), "2026-11-26T23:59:59Z", true},
      {Window(kAll, "18:00-24:00", "UTC"), "2026-11-27T00:00:00Z", false},
  };
  for (const Row& row : rows) {
    INFO(row.window.Summary() << " at " << row.at);
    CHECK(row.window.Holds(At(row.at)) == row.holds);
    CHECK(row.window.Holds(row.window.Example()));
  }
  CHECK(Window(kWorkdays, "08:00-18:00", "Europe/Berlin").Summary() == "mon tue wed thu fri 08:00-18:00 Europe/Berlin");
}

TEST_CASE("Hours, zones and moments that make no sense are refused with what to write") {
  for (const char* text : {"", "8-18", "08:00", "08:00-25:00", "08:60-09:00", "24:00-06:00", "08:00 18:00", "ab:cd-ef:gh", "08:00-18:00 "})
    CHECK_FALSE(ParseHours(text).ok());
  CHECK(base::Message(ParseHours("09:00-09:00").status()) == "'09:00-09:00' begins where it ends; leave hours out for the whole day");
  for (const char* name : {"", "Berlin", "/etc/passwd", "../Europe/Berlin", "Europe/Berlin;", "file:UTC"})
    CHECK_FALSE(ParseZone(name).ok());
  for (const char* text : {"", "2026-11-27", "tomorrow", "2026-11-27T22:30"}) CHECK_FALSE(ParseMoment(text).ok());
}

TEST_CASE("A rule with hours acts inside them only, on prompts and replies, and not where the time is not known") {
  const auto policies = MustCompile(R"(version: 1
name: t
rules:
  - id: quiet
    where: {time: {days: [sat, sun], zone: Europe/Berlin}}
    detect: {keywords: falcon}
    do: block
    tests:
      - text: a falcon
      - text: a falcon
        at: 2026-11-27T12:00:00+01:00
        expect_not: quiet
  - id: day
    where: {team: search, time: {hours: ["08:00-12:00", "13:00-18:00"]}}
    detect: {keywords: falcon}
    do: redact
    tests:
      - text: a falcon
        result: a [REDACTED]
)");
  CHECK(policies->Describe()[0].where == "both time=sat sun Europe/Berlin");
  Subject subject{"acme", "search", "web", "k", "m"};
  struct Row {
    const char* at;
    const char* out;
  };
  for (const Row& row :
       {Row{"2026-11-28T09:00:00Z", "a "}, Row{"2026-11-27T09:00:00Z", "a [REDACTED] b"}, Row{"2026-11-27T12:30:00Z", "a falcon b"}}) {
    INFO(row.at);
    subject.unix_seconds = At(row.at);
    const Filtered whole = MustFilter(*policies, "a falcon b", subject);
    CHECK(whole.text == row.out);
    CHECK(StreamInPieces(
              *policies, "a falcon b", whole.text, [] { return std::size_t{1}; }, subject)
              .text == row.out);
    const Message message{Role::kUser, "", {"a falcon b"}};
    CHECK((policies->Inspect(subject, {&message, 1})->verdict.action == Action::kBlock) == whole.blocked);
  }
  subject.unix_seconds = 0;
  CHECK(MustFilter(*policies, "a falcon b", subject).text == "a falcon b");
}

TEST_CASE("Faults in `time` are told with their place") {
  const auto rule = [](const std::string& time) { return OneRule("{keywords: a}", "flag", "    where: {time: " + time + "}\n"); };
  CHECK(CompileError(rule("{days: [mon, today]}")) == "test.yaml:7:32: 'days' is one of mon, tue, wed, thu, fri, sat, sun");
  CHECK(CompileError(rule("{hours: '9-5'}")) ==
        "test.yaml:7:27: hours: '9-5' is no stretch of a day; write it as in \"08:00-18:00\" or \"22:00-06:00\"");
  CHECK_THAT(CompileError(rule("{days: mon, zone: Mars}")), Catch::Matchers::ContainsSubstring("zone: there is no zone 'Mars'"));
  CHECK_THAT(CompileError(rule("{zone: UTC}")), Catch::Matchers::ContainsSubstring("'time' says neither days nor hours"));
}

}  // namespace tollgate::policy
