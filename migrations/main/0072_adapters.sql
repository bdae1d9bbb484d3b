-- Why: LoRA adapters stand in the models' registry: a model that is another one with a file beside its weights. Forward only.
--
-- engine 'lora': `base` names the model that it changes, `scale_millionths` says how strongly; the settings of how a model runs are the base's
-- and count for nothing here. NULL for every other model, so that rows and MACs from before stand as they are.
ALTER TABLE directory.model ADD COLUMN base text, ADD COLUMN scale_millionths int8 CHECK (scale_millionths BETWEEN 1 AND 16000000);
