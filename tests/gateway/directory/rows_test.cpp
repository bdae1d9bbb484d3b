#include "gateway/directory/rows.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/gateway/directory/rows_of.h"

using namespace tollgate;
using namespace tollgate::directory;
using tollgate::directory::test::kMacKey;

namespace {

Row Sample() {
  Row row = NewRow(Table::kKey);
  row.id = *base::Uuid::Parse("01900000-0000-7000-8000-000000000001");
  row.Set("public_id", std::string("3kQ9xZ0b"));
  row.Set("name", std::string("web"));
  row.Set("secret_hmac", base::Blob{std::string(32, 'h')});
  row.Set("created_us", std::int64_t{7});
  row.version = 3;
  row.admin_index = 9;
  return row;
}

}  // namespace

TEST_CASE("A MAC changes with each thing that it covers, and with the key") {
  const base::Digest good = RowMac(kMacKey, Sample());
  CHECK(RowMac(kMacKey, Sample()) == good);
  CHECK(RowMac(std::string(32, 'n'), Sample()) != good);
  std::vector<Row> changed;
  const auto with = [&](const auto& change) {
    changed.push_back(Sample());
    change(changed.back());
  };
  with([](Row& r) { r.Set("name", std::string("wob")); });
  with([](Row& r) { r.Set("name", base::Value()); });
  with([](Row& r) { r.Set("revoked_us", std::int64_t{0}); });
  with([](Row& r) { r.Set("created_us", std::int64_t{8}); });
  with([](Row& r) { r.Set("secret_hmac", base::Blob{std::string(32, 'i')}); });
  with([](Row& r) { r.id = base::Uuid(); });
  with([](Row& r) { r.version = 4; });
  with([](Row& r) { r.admin_record = r.id; });
  with([](Row& r) { r.admin_log_id = 1; });
  with([](Row& r) { r.admin_index = 10; });
  // A value that moves into the next column.
  with([](Row& r) {
    r.Set("name", base::Value());
    r.Set("owner", std::string("web"));
  });
  for (const Row& row : changed) CHECK(RowMac(kMacKey, row) != good);
}

TEST_CASE("The ADMIN record's digest covers the row, and nothing that is known only after it") {
  const base::Digest digest = RowDigest(Sample());
  Row later = Sample();
  later.version = 99;
  later.admin_log_id = 4;
  later.admin_index = 5;
  later.admin_record = base::Uuid::NewV7();
  CHECK(RowDigest(later) == digest);
  later.Set("name", std::string("other"));
  CHECK(RowDigest(later) != digest);
}

TEST_CASE("The canonical form is fixed: stored MACs depend on it") {
  CHECK(base::View(RowDigest(Sample())).size() == 32);
  Row org = NewRow(Table::kOrg);
  org.id = *base::Uuid::Parse("01900000-0000-7000-8000-000000000001");
  org.Set("name", std::string("acme"));
  org.Set("blocked", std::string("f"));
  std::string expected;
  const auto add = [&expected](const std::string& text) { expected += std::string(7, '\0') + static_cast<char>(text.size()) + text; };
  add("tollgate-directory-row-1");
  add("directory.org");
  add(org.id.Bytes());
  for (const char* text : {"name", "text", "acme", "blocked", "bool", "f"}) add(text);
  CHECK(RowDigest(org) == base::Sha256(expected));
}

TEST_CASE("The set knows no order, and taking out undoes putting in") {
  base::Digest set{};
  const base::Digest a = base::Sha256("a"), b = base::Sha256("b");
  Toggle(set, a);
  Toggle(set, b);
  base::Digest other{};
  Toggle(other, b);
  Toggle(other, a);
  CHECK(set == other);
  Toggle(set, a);
  Toggle(set, b);
  CHECK(set == base::Digest{});
  CHECK(HeadMac(kMacKey, 1, a) != HeadMac(kMacKey, 2, a));
  CHECK(HeadMac(kMacKey, 1, a) != HeadMac(kMacKey, 1, b));
}
