-- Which programs can work with these tables: those that know migrations up to this one, and all newer ones. Migrations add, so that
-- old and new processes work side by side during a roll-out; one that takes away what an older program uses raises the number in
-- the same file: update instance set value = '12' where key = 'schema_compatible_from';
insert into instance (key, value) values ('schema_compatible_from', '8');
