"""Care of a store and of results folders: who needs what, whether it is whole, why a stage is there or not, and how a study is handed on."""
