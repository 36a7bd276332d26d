-- Argo CD's health of every kind of spawn-ai.com; docs/gitops.md says how to install it.
-- Plain Lua 5.1 without libraries: Argo CD gives none unless useOpenLibs is set.
--
-- A tombstone of an orderly end is Healthy: nothing runs, and nothing is wrong. Not Suspended: a sync
-- with waves goes on only when a resource is Healthy. What a person must change is Degraded, which
-- fails a sync at once; what may appear by itself, such as a class or its Secret, is Progressing.
local hs = {}
local status = obj.status

if obj.metadata.deletionTimestamp ~= nil then
  hs.status = "Progressing"
  hs.message = (status ~= nil and status.message) or "Deleted: what it used is being destroyed"
  return hs
end

-- A ledger is the operator's own; it is never in Git, and may be long in the making.
if obj.kind == "SpawnRecord" then
  hs.status = "Healthy"
  hs.message = "A ledger"
  return hs
end

if status == nil or status.conditions == nil
  or (status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and status.observedGeneration < obj.metadata.generation) then
  hs.status = "Progressing"
  hs.message = "Waiting for the operator"
  return hs
end

local c = {}
for _, condition in ipairs(status.conditions) do
  c[condition.type] = condition
end
local function is(kind, value)
  return c[kind] ~= nil and c[kind].status == value
end

if is("Reconciling", "True") then
  hs.status = "Progressing"
  hs.message = status.message or c.Reconciling.message or c.Reconciling.reason
  return hs
end
if is("Stalled", "True") then
  hs.status = "Degraded"
  hs.message = c.Stalled.reason .. ": " .. (c.Stalled.message or "")
  return hs
end
if status.phase == "Destroyed" then
  hs.status = "Healthy"
  hs.message = (status.terminationReason or "Ended") .. ": " .. (status.message or "")
  return hs
end
if is("Ready", "True") then
  hs.status = "Healthy"
  hs.message = status.url or c.Ready.message
  if is("ExpiringSoon", "True") then
    hs.message = c.ExpiringSoon.message
  end
  return hs
end
hs.status = "Progressing"
hs.message = status.message or (c.Ready ~= nil and c.Ready.message) or "Waiting for the operator"
return hs
