// A transaction that holds the lock, in a thread of its own, until it is told to end.
#include "tests/e2e/support/table_lock.h"

#include <fmt/format.h>

#include "tests/e2e/support/process.h"

namespace tollgate::e2e {

TableLock::TableLock(const Installation& installation, const std::string& table) {
  const auto connect = [&] { return table.starts_with("keys.") ? installation.KeysSql() : installation.Sql(); };
  looker_ = connect();
  std::promise<bool> taken;
  auto is_taken = taken.get_future();
  holder_ = std::jthread([this, &taken, session = connect(), table] {
    bool told = false;
    const absl::Status status = session->InTransaction("hold a lock", [&](base::Session& inside) -> absl::Status {
      const auto locked = inside.Run("lock", fmt::format("LOCK TABLE {} IN SHARE MODE", table));
      told = true;
      taken.set_value(locked.ok());
      release_.get_future().wait();
      return locked.status();
    });
    if (!told) taken.set_value(status.ok());
  });
  TG_CHECK(is_taken.get(), "the lock on " + table + " was not had");
}

TableLock::~TableLock() { release_.set_value(); }

bool TableLock::Bites() {
  return Eventually([this] {
    const auto rows =
        looker_->Run("look", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'");
    return rows.ok() && rows->Int(0, 0) > 0;
  });
}

}  // namespace tollgate::e2e
