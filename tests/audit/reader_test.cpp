#include <catch2/catch_test_macros.hpp>

#include <set>

#include "audit/reader.h"
#include "tests/audit/fixture.h"

namespace tollgate::audit {
namespace {

struct Bed : AuditFixture {
  std::unique_ptr<PostgresJournal> journal = Open();
  std::unique_ptr<Keys> keys = [this] {
    PostgresKeysOptions options;
    options.url = keys_url;
    return *OpenPostgresKeys(RootKey::FromBytes(std::string(32, 'r')), options);
  }();
  base::SessionPool sessions{[this] {
    base::SessionPool::Options options;
    options.postgres = cluster.Options(url);
    options.postgres.role = "tollgate_reader";
    options.sessions = 1;
    return options;
  }()};
  Reader reader{sessions, keys.get(), journal.get()};
  Viewer all{"key-7", Viewer::Sees::kAll, {}, base::KeyId::New()};

  Position Sealed(base::RequestId request, const std::string& text) {
    const auto request_key = *MakeKeyAndWait(*keys, team, request, Journal::kNoDeadline);
    Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
    v1::SealedContent content;
    content.add_prompt()->add_parts(text);
    entry.content = Seal(*request_key, {v1::RECORD_KIND_REQUEST, 0, 0}, content);
    entry.key = request_key->row();
    last_key = request_key;
    return *Append(*journal, std::move(entry));
  }

  // A record of the last request's reply.
  Position Said(v1::RecordKind kind, std::uint32_t segment, const std::string& text) {
    Entry entry = Make(kind, last_key->request());
    entry.record.set_segment(segment);
    v1::SealedContent content;
    content.set_text(text);
    entry.content = Seal(*last_key, {kind, entry.record.attempt(), segment}, content);
    return *Append(*journal, std::move(entry));
  }

  std::shared_ptr<const RequestKey> last_key;
};

TEST_CASE_METHOD(Bed, "Lists filter, and pages join without gap or repeat, in both directions") {
  const auto other = base::TeamId::New();
  for (int i = 0; i < 25; ++i) {
    Entry entry = Make(i % 5 == 0 ? v1::RECORD_KIND_VIEW : v1::RECORD_KIND_ADMIN, {});
    if (i % 2 == 1) entry.record.set_team_id(other.Bytes());
    entry.record.set_wall_us(base::ToMicros(base::SystemClock().Wall()) - 1'000'000 * (i / 4));  // Some share their time.
    REQUIRE(Append(*journal, std::move(entry)).ok());
  }
  for (const bool oldest_first : {false, true}) {
    ListFilter filter;
    filter.limit = 7;
    filter.oldest_first = oldest_first;
    std::vector<Position> seen;
    std::int64_t last = oldest_first ? 0 : INT64_MAX;
    do {
      const auto page = reader.List(all, filter);
      REQUIRE(page.ok());
      for (const Row& row : page->rows) {
        seen.push_back(row.position);
        CHECK((oldest_first ? row.record.wall_us() >= last : row.record.wall_us() <= last));
        last = row.record.wall_us();
      }
      filter.cursor = page->next;
    } while (!filter.cursor.empty());
    CHECK(seen.size() == 26);
    CHECK(std::set(seen.begin(), seen.end()).size() == 26);
  }
  const auto Count = [&](const Viewer& viewer, const std::function<void(ListFilter&)>& set) {
    ListFilter filter;
    set(filter);
    const auto page = reader.List(viewer, filter);
    REQUIRE(page.ok());
    return page->rows.size();
  };
  const auto now = base::SystemClock().Wall();
  CHECK(Count(all, [&](ListFilter& f) { f.team = other; }) == 12);
  CHECK(Count(all, [&](ListFilter& f) { f.org = org; }) == 25);
  CHECK(Count(all, [&](ListFilter& f) {
          f.project = project;
          f.key = key;
        }) == 25);
  CHECK(Count(all, [&](ListFilter& f) { f.kinds = {v1::RECORD_KIND_VIEW, v1::RECORD_KIND_START}; }) == 6);
  CHECK(Count(all, [&](ListFilter& f) {
          f.log_id = journal->log_id();
          f.index_from = 3;
          f.index_to = 8;
        }) == 5);
  CHECK(Count(all, [&](ListFilter& f) { f.to = now - std::chrono::hours(1); }) == 0);
  CHECK(Count(all, [&](ListFilter& f) {
          f.from = now - std::chrono::hours(1);
          f.to = now + std::chrono::hours(1);
        }) == 26);
  CHECK(Count({"x", Viewer::Sees::kTeam, other.value, {}}, [](ListFilter&) {}) == 12);
  CHECK(Count({"x", Viewer::Sees::kOrg, org.value, {}}, [](ListFilter&) {}) == 25);
  CHECK(Count({"x", Viewer::Sees::kTeam, base::Uuid::NewV7(), {}}, [&](ListFilter& f) { f.team = other; }) == 0);
}

TEST_CASE_METHOD(Bed, "A record whose bytes cannot be read is listed by its ids, and hides no others") {
  const auto before = base::RequestId::New(), bad = base::RequestId::New(), after = base::RequestId::New();
  for (const auto& request : {before, bad, after}) {
    Entry entry = Make(v1::RECORD_KIND_REQUEST, request);
    if (request == bad) entry.record.mutable_request()->set_client_request_id("a\xff");
    REQUIRE(Append(*journal, std::move(entry)).ok());
  }
  const auto page = reader.List(all, ListFilter());
  REQUIRE(page.ok());
  int found = 0;
  for (const Row& row : page->rows) {
    for (const auto& request : {before, bad, after}) found += row.record.request_id() == request.Bytes() ? 1 : 0;
  }
  CHECK(found == 3);
}

TEST_CASE_METHOD(Bed, "Bad filters are refused") {
  const std::function<void(ListFilter&)> rows[] = {[](ListFilter& f) { f.limit = 0; },          [](ListFilter& f) { f.limit = 1001; },
                                                   [](ListFilter& f) { f.cursor = "x"; },       [](ListFilter& f) { f.cursor = "1.2"; },
                                                   [](ListFilter& f) { f.cursor = "1.2.3.4"; }, [](ListFilter& f) { f.cursor = "1.2.3'"; },
                                                   [](ListFilter& f) { f.index_from = 3; }};
  for (const auto& row : rows) {
    ListFilter filter;
    row(filter);
    CHECK(absl::IsInvalidArgument(reader.List(all, filter).status()));
  }
}

TEST_CASE_METHOD(Bed, "Content is opened only after a VIEW record, and the story shows who looked") {
  const auto request = base::RequestId::New();
  const Position position = Sealed(request, "the canary sings");
  CHECK(absl::IsInvalidArgument(reader.OpenContent(all, position, "").status()));
  CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 6") == 0);
  const auto content = reader.OpenContent(all, position, "complaint 12");
  REQUIRE(content.ok());
  CHECK(content->prompt(0).parts(0) == "the canary sings");

  const auto story = reader.Show({"x", Viewer::Sees::kTeam, team.value, {}}, request);
  REQUIRE(story.ok());
  REQUIRE(story->size() == 2);
  CHECK((*story)[0].has_content);
  CHECK((*story)[1].record.view().actor() == "key-7");
  CHECK((*story)[1].record.view().reason() == "complaint 12");
  CHECK((*story)[1].record.view().index() == position.index);
  CHECK(absl::IsNotFound(reader.Show({"x", Viewer::Sees::kTeam, base::Uuid::NewV7(), {}}, request).status()));
  CHECK(absl::IsNotFound(reader.OpenContent({"x", Viewer::Sees::kTeam, base::Uuid::NewV7(), {}}, position, "no business").status()));
  CHECK(absl::IsNotFound(reader.OpenContent(all, {position.log_id, 0}, "START has none").status()));
  CHECK(Int("SELECT count(*) FROM audit.record WHERE kind = 6") == 1);

  REQUIRE(cluster.Connect(keys_url)->RunScript("erase", "UPDATE keys.request SET salt = NULL").ok());
  const auto erased = reader.OpenContent(all, position, "too late");
  CHECK(absl::IsNotFound(erased.status()));
  CHECK(base::Message(erased.status()).find("destroyed") != std::string::npos);
}

TEST_CASE_METHOD(Bed, "The contents of a long stream are opened behind one VIEW, and nothing of them where whoever asked has gone") {
  const auto request = base::RequestId::New();
  std::vector<Position> positions = {Sealed(request, "prompt")};
  for (std::uint32_t i = 1; i <= 50; ++i) positions.push_back(Said(v1::RECORD_KIND_SEGMENT, i, std::to_string(i)));
  Tamper("UPDATE audit.record SET content = '\\x00' WHERE leaf_index = " + std::to_string(positions[2].index));
  const auto views = [this] { return Int("SELECT count(*) FROM audit.record WHERE kind = 6"); };
  const auto gone = [] { return base::Cancelled("nobody waits"); };
  CHECK(absl::IsCancelled(reader.OpenContents(all, request, positions, "case 12", gone).status()));
  CHECK(views() == 0);
  int asked = 0;
  const auto leaves = [&]() -> absl::Status { return ++asked > 10 ? base::Cancelled("nobody waits") : absl::OkStatus(); };
  CHECK(absl::IsCancelled(reader.OpenContents(all, request, positions, "case 12", leaves).status()));
  CHECK(views() == 1);

  positions.push_back({positions[0].log_id, 0});  // START's.
  const auto contents = reader.OpenContents(all, request, positions, "case 12");
  REQUIRE(contents.ok());
  REQUIRE(contents->size() == positions.size());
  CHECK((*contents)[0]->prompt(0).parts(0) == "prompt");
  CHECK((*contents)[1]->text() == "1");
  CHECK(absl::IsDataLoss((*contents)[2].status()));
  CHECK((*contents)[50]->text() == "50");
  CHECK(absl::IsNotFound(contents->back().status()));
  CHECK(views() == 2);
  const auto story = reader.Show(all, request);
  REQUIRE(story->size() == 53);
  const v1::ViewBody& view = story->back().record.view();
  CHECK(view.reason() == "case 12");
  REQUIRE(view.viewed_size() == 1);
  CHECK(view.viewed(0).steps_size() == 50);
  CHECK(view.viewed(0).steps(0) == positions[0].index);
}

TEST_CASE_METHOD(Bed, "Prompts of a team are opened page by page, each page behind one VIEW that names them") {
  std::vector<base::RequestId> requests;
  std::vector<Position> positions;
  for (int i = 0; i < 7; ++i) {
    requests.push_back(base::RequestId::New());
    positions.push_back(Sealed(requests.back(), "prompt " + std::to_string(i)));
    REQUIRE(Append(*journal, Make(v1::RECORD_KIND_FINAL, requests.back())).ok());
  }
  REQUIRE(cluster.Connect(keys_url)
              ->RunScript("erase", "UPDATE keys.request SET salt = NULL WHERE request_id = '" + requests[1].ToString() + "'")
              .ok());
  Tamper("UPDATE audit.record SET content = '\\x00' WHERE leaf_index = " + std::to_string(positions[2].index));
  ListFilter filter;
  CHECK(absl::IsInvalidArgument(reader.OpenHistory(all, filter, "why", 1 << 20).status()));  // No team.
  filter.team = team;
  filter.kinds = {v1::RECORD_KIND_REQUEST, v1::RECORD_KIND_DENY};
  CHECK(absl::IsInvalidArgument(reader.OpenHistory(all, filter, "", 1 << 20).status()));
  filter.limit = 3;
  std::vector<std::string> seen;
  int pages = 0;
  do {
    const auto page = reader.OpenHistory(all, filter, "replay", 1 << 20);
    INFO(page.status());
    REQUIRE(page.ok());
    ++pages;
    for (const OpenedRow& row : page->rows)
      seen.push_back(row.state.ok() ? row.content.prompt(0).parts(0) : absl::IsNotFound(row.state) ? "erased" : "damaged");
    filter.cursor = page->next;
  } while (!filter.cursor.empty());
  CHECK(pages == 3);
  CHECK(seen == std::vector<std::string>{"prompt 0", "erased", "damaged", "prompt 3", "prompt 4", "prompt 5", "prompt 6"});

  ListFilter views;
  views.kinds = {v1::RECORD_KIND_VIEW};
  views.oldest_first = true;
  const auto listed = reader.List({"x", Viewer::Sees::kTeam, team.value, {}}, views);
  REQUIRE(listed.ok());
  REQUIRE(listed->rows.size() == 3);
  const v1::ViewBody& first = listed->rows[0].record.view();
  CHECK(first.reason() == "replay");
  REQUIRE(first.viewed_size() == 1);
  REQUIRE(first.viewed(0).steps_size() == 1);  // Neither what is erased nor what is damaged was opened.
  CHECK(first.viewed(0).steps(0) == positions[0].index);
  const v1::ViewedLog& second = listed->rows[1].record.view().viewed(0);
  REQUIRE(second.steps_size() == 3);
  CHECK(second.steps(0) == positions[3].index);
  CHECK(second.steps(0) + second.steps(1) + second.steps(2) == positions[5].index);

  filter.cursor.clear();
  filter.limit = 100;
  const auto small = reader.OpenHistory(all, filter, "few bytes at a time", 1);
  REQUIRE(small.ok());
  CHECK(small->rows.size() == 1);
  CHECK_FALSE(small->next.empty());
  const auto other = reader.OpenHistory({"x", Viewer::Sees::kTeam, base::Uuid::NewV7(), {}}, filter, "no business", 1 << 20);
  REQUIRE(other.ok());
  CHECK(other->rows.empty());
}

TEST_CASE_METHOD(Bed, "A reply is opened with all that it is made of, wherever its request stands") {
  const auto one = base::RequestId::New(), two = base::RequestId::New(), three = base::RequestId::New();
  std::vector<Position> positions;
  Sealed(one, "prompt 1");
  positions = {Said(v1::RECORD_KIND_SEGMENT, 1, "a"), Said(v1::RECORD_KIND_SEGMENT, 2, "b"), Said(v1::RECORD_KIND_FINAL, 0, "c")};
  Sealed(two, "prompt 2");
  const Position damaged = Said(v1::RECORD_KIND_SEGMENT, 1, "d");
  Said(v1::RECORD_KIND_FINAL, 0, "e");
  Sealed(three, "prompt 3");
  REQUIRE(Append(*journal, Make(v1::RECORD_KIND_ABORT, three)).ok());
  Tamper("UPDATE audit.record SET content = '\\x00' WHERE leaf_index = " + std::to_string(damaged.index));
  ListFilter filter;
  filter.team = team;
  for (const int limit : {1, 2, 100}) {
    INFO(limit);
    filter.limit = limit;
    filter.cursor.clear();
    std::vector<std::string> seen;
    do {
      const auto page = reader.OpenHistory(all, filter, "replay", limit == 100 ? 1 : 1 << 20);
      INFO(page.status());
      REQUIRE(page.ok());
      for (const OpenedRow& row : page->rows) {
        if (row.row.record.kind() == v1::RECORD_KIND_REQUEST) continue;
        std::string text = row.state.ok() ? "" : absl::IsDataLoss(row.state) ? "damaged" : "gone";
        for (const OpenedRow& before : row.before) text += before.content.text();
        seen.push_back(text + row.content.text());
        if (row.state.ok()) CHECK(row.before.at(0).row.record.kind() == v1::RECORD_KIND_REQUEST);
        if (row.state.ok()) CHECK(row.before[0].content.prompt().empty());
      }
      filter.cursor = page->next;
    } while (!filter.cursor.empty());
    CHECK(seen == std::vector<std::string>{"abc", "damaged", ""});
  }
  ListFilter views;
  views.kinds = {v1::RECORD_KIND_VIEW};
  views.oldest_first = true;
  const auto listed = reader.List(all, views);
  REQUIRE(listed.ok());
  REQUIRE(listed->rows.size() > 2);
  const v1::ViewedLog& second = listed->rows[1].record.view().viewed(0);  // Of the page of the first reply.
  REQUIRE(second.steps_size() == 3);
  CHECK(second.steps(0) == positions[0].index);
  CHECK(second.steps(0) + second.steps(1) + second.steps(2) == positions[2].index);

  REQUIRE(cluster.Connect(keys_url)
              ->RunScript("erase", "UPDATE keys.request SET salt = NULL WHERE request_id = '" + one.ToString() + "'")
              .ok());
  filter.kinds = {v1::RECORD_KIND_FINAL, v1::RECORD_KIND_ABORT};
  filter.limit = 100;
  filter.cursor.clear();
  const auto ends = reader.OpenHistory(all, filter, "replay", 1 << 20);
  REQUIRE(ends.ok());
  REQUIRE(ends->rows.size() == 3);
  CHECK(absl::IsNotFound(ends->rows[0].state));
  CHECK(ends->rows[2].state.ok());  // It has nothing to open.
}

TEST_CASE_METHOD(Bed, "A page of replies ends by the rows they are made of, however little these hold") {
  for (int i = 0; i < 3; ++i) {
    Sealed(base::RequestId::New(), "prompt");
    for (std::uint32_t n = 1; n <= 8; ++n) Said(v1::RECORD_KIND_SEGMENT, n, "a");
    Said(v1::RECORD_KIND_FINAL, 0, "b");
  }
  const std::int64_t contents = Int("SELECT sum(octet_length(content)) FROM audit.record");
  REQUIRE(contents < 4096);  // By these alone it would be one page.
  ListFilter filter;
  filter.team = team;
  filter.kinds = {v1::RECORD_KIND_FINAL};
  std::vector<std::size_t> pages;
  do {
    const auto page = reader.OpenHistory(all, filter, "replay", 4096);
    INFO(page.status());
    REQUIRE(page.ok());
    pages.push_back(page->rows.size());
    for (const OpenedRow& row : page->rows) CHECK(row.before.size() == 9);
    filter.cursor = page->next;
  } while (!filter.cursor.empty());
  CHECK(pages == std::vector<std::size_t>{1, 1, 1});
}

TEST_CASE_METHOD(Bed, "For a page of replies those are measured that it may show, not all that follow") {
  for (int i = 0; i < 100; ++i) {
    Sealed(base::RequestId::New(), "prompt");
    Said(v1::RECORD_KIND_SEGMENT, 1, "a");
    Said(v1::RECORD_KIND_FINAL, 0, "b");
  }
  // Counts the segments that are measured: by a policy, for these see each row that is found.
  Do("CREATE SEQUENCE test.measured; GRANT USAGE ON SCHEMA test TO tollgate_reader; GRANT USAGE ON test.measured TO tollgate_reader; "
     "CREATE FUNCTION test.count() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF current_query() LIKE '%sum(%GROUP BY request_id%' THEN "
     "PERFORM nextval('test.measured'); END IF; RETURN true; END $$; "
     "CREATE POLICY counted ON audit.record AS RESTRICTIVE FOR SELECT TO tollgate_reader USING (kind <> 3 OR test.count())");
  // So that a row that is not asked for is not found.
  REQUIRE(sessions.RunAndWait([](base::Session& session) { return session.RunScript("plan", "SET enable_seqscan = off"); }).ok());
  const auto measured = [&] { return Int("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM test.measured"); };
  const std::int64_t bytes = Int(
      "SELECT sum(octet_length(content) + CASE WHEN kind IN (1, 3) THEN octet_length(message) + 512 ELSE 0 END)::int8 FROM audit.record "
      "WHERE kind IN (1, 3, 4)");
  ListFilter filter;
  filter.team = team;
  filter.kinds = {v1::RECORD_KIND_FINAL};
  filter.limit = 100;
  const auto page = [&](std::int64_t bytes_max) {
    auto opened = reader.OpenHistory(all, filter, "replay", bytes_max);
    INFO(opened.status());
    REQUIRE(opened.ok());
    for (const OpenedRow& row : opened->rows) CHECK(row.before.size() == 2);
    return opened->rows.size();
  };
  CHECK(page(bytes / 4) < 30);
  CHECK(measured() == 64);
  CHECK(page(bytes + 1) == 100);
  CHECK(measured() == 64 + 100);
  const std::size_t most = page(bytes / 4 * 3);  // Behind the first step too each row has its own reply's bytes.
  CHECK((most > 70 && most < 80));
}

TEST_CASE_METHOD(Bed, "Without its VIEW record no content is shown") {
  const Position position = Sealed(base::RequestId::New(), "secret");
  Do("UPDATE audit.log_head SET epoch = epoch + 1");
  CHECK_FALSE(reader.OpenContent(all, position, "why not").ok());
  ListFilter filter;
  filter.team = team;
  CHECK_FALSE(reader.OpenHistory(all, filter, "why not", 1 << 20).ok());
}

}  // namespace
}  // namespace tollgate::audit
